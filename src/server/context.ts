import type { IncomingMessage, ServerResponse } from "node:http";
import type { Logger } from "../base/logger.ts";
import type { ServerMetrics } from "./metrics.ts";
import type { ModelRegistry } from "./served-model.ts";

/** What every route handler works with. */
export interface ServerContext {
  readonly models: ModelRegistry;
  readonly metrics: ServerMetrics;
  readonly logger: Logger;
  readonly isStrict: boolean;
  /** `system_fingerprint` of answers. */
  readonly fingerprint: string;
}

/** The request as an endpoint sees it: its text and the raw response to stream to (absent in socketless tests). */
export interface Exchange {
  readonly text: string;
  readonly incoming: IncomingMessage | undefined;
  readonly outgoing: ServerResponse | undefined;
  /** Fires when the client goes away. */
  readonly signal: AbortSignal;
}

/** The whole answer of an endpoint: JSON, or a stream that was already written. */
export type Answer =
  | { readonly kind: "json"; readonly body: unknown; readonly headers: Readonly<Record<string, string>> }
  | { readonly kind: "streamed" };
