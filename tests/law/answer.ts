import type {
  EngineClient,
  EngineOutput,
  GenerateRequest,
  RequestTrace,
} from "../../src/protocol/engine-client.ts";
import type { LawRequest } from "./law-requests.ts";

/** All that a request gave, in one list each. */
export interface Answer {
  readonly tokenIds: readonly number[];
  /** Bits of the f32 log-probabilities, with ranks and top ids: for each token rank, bits, then id and bits of each top. */
  readonly logprobs: readonly number[];
  readonly end: string;
  readonly numCachedTokens: number;
  readonly trace: RequestTrace;
}

const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);

function bitsOf(value: number): number {
  float[0] = value;
  return bits[0]!;
}

/** Reads a request to its end. */
export async function answer(
  client: EngineClient,
  requestId: string,
  request: Omit<LawRequest, "group">,
  onOutput: () => void = () => {},
): Promise<Answer> {
  const { promptTokenIds, sampling } = request;
  const asked: GenerateRequest = { requestId, promptTokenIds, sampling, explain: true };
  const tokenIds: number[] = [];
  const logprobs: number[] = [];
  let last: EngineOutput | undefined;
  for await (const output of client.generate(asked)) {
    last = output;
    onOutput();
    tokenIds.push(...output.newTokenIds);
    for (const { logprob, rank, topIds, topLogprobs } of output.logprobs ?? []) {
      logprobs.push(rank, bitsOf(logprob));
      topIds.forEach((id, place) => logprobs.push(id, bitsOf(topLogprobs[place]!)));
    }
  }
  return {
    tokenIds,
    logprobs,
    end: `${last!.finishReason} ${last!.stopReason}`,
    numCachedTokens: last!.numCachedTokens,
    trace: last!.trace!,
  };
}

/** What differs first between two answers, or null. */
export function firstDifference(expected: Answer, got: Answer): string | null {
  for (const name of ["tokenIds", "logprobs"] as const) {
    const [a, b] = [expected[name], got[name]];
    const length = Math.max(a.length, b.length);
    for (let at = 0; at < length; at += 1)
      if (a[at] !== b[at]) return `${name}[${at}] is ${b[at]} instead of ${a[at]} (of ${a.length})`;
  }
  return expected.end === got.end ? null : `it ended with "${got.end}" instead of "${expected.end}"`;
}
