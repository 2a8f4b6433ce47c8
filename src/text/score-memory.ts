import { onAbort } from "../base/on-abort.ts";
import type { ScoreRequest, ScoreResult, Scorer } from "../protocol/engine-client.ts";

/** Prompts are found by their beginnings of so many tokens and multiples of it. */
const stride = 4;
/** What is kept, in bytes of ids and scores. */
const defaultMaxBytes = 16 * 1024 * 1024;

/** A prompt whose scores are known, or are being made. */
interface Entry {
  readonly tokenIds: Int32Array;
  readonly topK: number;
  /** What prompts must agree in to share: salt, tenant and urgency. */
  readonly sharing: string;
  readonly keys: readonly string[];
  /** [tokenIds.length − 1] from the second token on. */
  readonly scores: ScoreResult;
  /** Tokens up to which `scores` are there; the others come all together. */
  numKnown: number;
  /** Settles when they are there or will never be. */
  readonly done: Promise<void>;
}

/**
 * A scorer that remembers: a prompt is scored from where it parts from earlier ones. The score of a token depends only on
 * what stands before it, so what is remembered has the same bits. A prompt that comes while one with the same beginning is
 * scored waits for it. Harnesses that ask each answer of a question with the whole question profit: they ask for the scores of all
 * tokens, which the KV of a prefix alone does not give.
 *
 * The oldest are forgotten first. Prompts of different cache salt, tenant or priority share nothing.
 */
export class ScoreMemory implements Scorer {
  readonly #scorer: Scorer;
  readonly #maxBytes: number;
  /** Beginnings → the last prompt that has it. */
  readonly #byBeginning = new Map<string, Entry>();
  /** In the order of their coming. */
  readonly #entries = new Set<Entry>();
  #numBytes = 0;

  constructor(scorer: Scorer, { maxBytes = defaultMaxBytes }: { readonly maxBytes?: number } = {}) {
    this.#scorer = scorer;
    this.#maxBytes = maxBytes;
  }

  /** Errors: those of the scorer. */
  async score(request: ScoreRequest, signal?: AbortSignal): Promise<ScoreResult> {
    const tokenIds = Int32Array.from(request.tokenIds);
    if (
      request.start !== 1 ||
      tokenIds.length < stride ||
      bytesOf(tokenIds.length, request.topK) > this.#maxBytes
    )
      return this.#scorer.score(request, signal);
    const sharing = sharingOf(request);
    const prompt = { tokenIds, topK: request.topK, sharing, keys: keysOf(tokenIds, sharing) };
    for (;;) {
      const { known, pending } = this.#find(prompt);
      // To wait pays where it saves at least half of the work.
      const numSaved = (pending?.numTokens ?? 0) - known.numTokens;
      if (pending === null || 2 * numSaved < tokenIds.length - known.numTokens)
        return this.#scoreFrom(known, prompt, request, signal);
      await settled(pending.done, signal);
    }
  }

  /** The longest beginning whose scores are there, and the longest that some prompt now scored has. */
  #find({ tokenIds, topK, sharing, keys }: Prompt): {
    readonly known: Beginning;
    readonly pending: Pending | null;
  } {
    let known: Beginning = { entry: null, numTokens: 1 };
    let pending: Pending | null = null;
    const seen = new Set<Entry>();
    for (const key of keys) {
      const entry = this.#byBeginning.get(key);
      if (entry === undefined || seen.has(entry) || entry.sharing !== sharing || entry.topK !== topK)
        continue;
      seen.add(entry);
      const numTokens = numCommon(tokenIds, entry.tokenIds);
      const numThere = Math.min(numTokens, entry.numKnown);
      if (numThere > known.numTokens) known = { entry, numTokens: numThere };
      if (numTokens > numThere && numTokens > (pending?.numTokens ?? 0))
        pending = { done: entry.done, numTokens };
    }
    return { known, pending };
  }

  /** Scores what lies behind the known beginning and puts it behind that. */
  async #scoreFrom(
    known: Beginning,
    prompt: Prompt,
    request: ScoreRequest,
    signal: AbortSignal | undefined,
  ): Promise<ScoreResult> {
    const { tokenIds, topK } = prompt;
    const scores = emptyResult(tokenIds.length - 1, topK);
    if (known.entry !== null)
      copyScores(known.entry.scores, scores, { count: known.numTokens - 1, at: 0, topK });
    if (known.numTokens === tokenIds.length) return { ...scores, numCachedTokens: tokenIds.length };
    let finish = (): void => undefined;
    const done = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const entry: Entry = { ...prompt, scores, numKnown: known.numTokens, done };
    this.#keep(entry);
    try {
      const rest = await this.#scorer.score({ ...request, tokenIds, start: known.numTokens }, signal);
      copyScores(rest, scores, { count: tokenIds.length - known.numTokens, at: known.numTokens - 1, topK });
      entry.numKnown = tokenIds.length;
      return { ...rest, ...scores };
    } catch (error) {
      this.#forget(entry);
      throw error;
    } finally {
      finish();
    }
  }

  #keep(entry: Entry): void {
    this.#entries.add(entry);
    this.#numBytes += bytesOf(entry.tokenIds.length, entry.topK);
    for (const key of entry.keys) this.#byBeginning.set(key, entry);
    for (const oldest of this.#entries) {
      if (this.#numBytes <= this.#maxBytes) return;
      this.#forget(oldest);
    }
  }

  #forget(entry: Entry): void {
    if (!this.#entries.delete(entry)) return;
    this.#numBytes -= bytesOf(entry.tokenIds.length, entry.topK);
    for (const key of entry.keys) if (this.#byBeginning.get(key) === entry) this.#byBeginning.delete(key);
  }
}

type Prompt = Pick<Entry, "tokenIds" | "topK" | "sharing" | "keys">;

/** So many first tokens of a prompt; null is none that is remembered. */
interface Beginning {
  readonly entry: Entry | null;
  readonly numTokens: number;
}

interface Pending {
  readonly numTokens: number;
  readonly done: Promise<void>;
}

function numCommon(a: Int32Array, b: Int32Array): number {
  const most = Math.min(a.length, b.length);
  let count = 0;
  while (count < most && a[count] === b[count]) count += 1;
  return count;
}

function sharingOf({ scheduling }: ScoreRequest): string {
  const { cacheSalt, tenant, priority } = scheduling ?? {};
  return JSON.stringify([cacheSalt ?? null, tenant ?? "", priority ?? 0]);
}

/** One key for each beginning whose length is a multiple of the stride, short ones first. Equal keys may stand for different beginnings. */
function keysOf(tokenIds: Int32Array, sharing: string): string[] {
  const keys: string[] = [];
  let [a, b] = [0x811c9dc5, 0x01000193];
  for (const [index, id] of tokenIds.entries()) {
    a = Math.imul(a ^ id, 0x01000193);
    b = Math.imul(b + id, 0x85ebca6b) ^ (b >>> 13);
    if ((index + 1) % stride === 0) keys.push(`${a >>> 0}:${b >>> 0}:${sharing}`);
  }
  return keys;
}

function bytesOf(numTokens: number, topK: number): number {
  return numTokens * (12 + 8 * topK);
}

function emptyResult(count: number, topK: number): ScoreResult {
  return {
    logprobs: new Float32Array(count),
    argmax: new Int32Array(count),
    topIds: new Int32Array(count * topK),
    topLogprobs: new Float32Array(count * topK),
  };
}

/** Copies the first `count` rows of `from` to row `at` of `to`. */
function copyScores(
  from: ScoreResult,
  to: ScoreResult,
  { count, at, topK }: { readonly count: number; readonly at: number; readonly topK: number },
): void {
  to.logprobs.set(from.logprobs.subarray(0, count), at);
  to.argmax.set(from.argmax.subarray(0, count), at);
  to.topIds.set(from.topIds.subarray(0, count * topK), at * topK);
  to.topLogprobs.set(from.topLogprobs.subarray(0, count * topK), at * topK);
}

/** Waits for `done`, but no longer than the signal allows; rejects with its reason. */
async function settled(done: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  signal?.throwIfAborted();
  let ignore = (): void => undefined;
  const left = new Promise<never>((_, reject) => {
    ignore = onAbort(signal, () => reject(signal?.reason as Error));
  });
  await Promise.race([done, left]).finally(ignore);
}
