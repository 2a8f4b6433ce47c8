import { type Endpoint, firstModelOf } from "../client/endpoint.ts";
import { createHttpScorer } from "../client/http-scorer.ts";
import type { OpenScorer } from "../flow/flow-plan.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";

/** lm-eval's `max_length` for servers that do not tell theirs. */
const usualContext = 2048;

const probe = "A red fox sees 12 geese; it runs.";

export interface RemoteModel {
  readonly endpoint: Endpoint;
  /** Null takes the first that the server lists. */
  readonly model: string | null;
  /** Tokenizer of the served model. */
  readonly tokenizer: Tokenizer;
  /** Context to use in place of the one that the server tells. */
  readonly maxModelLen: number | null;
}

/**
 * Opens a served model for log-likelihoods after one request that proves that it can give them. Throws
 * `endpoint_unreachable`, `endpoint_failed`.
 */
export async function openRemoteScorer(remote: RemoteModel): Promise<OpenScorer & { readonly name: string }> {
  const { endpoint, tokenizer } = remote;
  const listed = remote.model === null || remote.maxModelLen === null ? await firstModelOf(endpoint) : null;
  const name = remote.model ?? listed!.id;
  const context = remote.maxModelLen ?? listed?.maxModelLen ?? usualContext;
  const scorer = createHttpScorer({ endpoint, model: name });
  try {
    const tokenIds = tokenizer.encode(probe, { addSpecialTokens: false });
    await scorer.check(tokenIds, probe);
  } catch (error) {
    await scorer.close();
    throw error;
  }
  return {
    name,
    scorer,
    tokenizer,
    // A request holds one id more than this, and the server generates one token after it.
    maxLength: context - 2,
    modelArgs: { base_url: endpoint.url, model: name, max_length: context },
    close: () => scorer.close(),
  };
}
