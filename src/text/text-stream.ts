import type { FinishReason, TokenLogprobs } from "../protocol/engine-client.ts";

/** Text that one engine output made certain. */
export interface TextDelta {
  /** Never splits a character and never shows a part of a stop string. */
  readonly text: string;
  /** Tokens behind this delta, in order; may come before their text is certain. */
  readonly tokenIds: readonly number[];
  readonly logprobs: readonly TokenLogprobs[] | null;
  readonly finishReason: FinishReason | null;
  /** The stop string or stop id that ended it. */
  readonly stopReason: string | number | null;
}
