/** The prompts of a load test. Every request gets its own start, so that no prefix cache can help. */
export interface Workload {
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly promptForm: "token-ids" | "text";
  readonly seed: number;
  /** The prompt of request `index`: token ids, or about `inputTokens` tokens of text. */
  prompt(index: number): readonly number[] | string;
}

interface WorkloadOptions {
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly seed: number;
  /** Vocabulary size for token-id prompts; null for text. */
  readonly vocabSize: number | null;
}

/** The lowest ids are usually special tokens. */
const firstPlainId = 200;

const words =
  "time year people way day man thing woman life child world school state family student group country problem hand part place case week company system program question work number night point home water room mother area money story fact month lot right study book eye job word business issue side kind head house service friend father power hour game line end member law car city name team minute idea body".split(
    " ",
  );

export function createWorkload(options: WorkloadOptions): Workload {
  const { inputTokens, outputTokens, seed, vocabSize } = options;
  const tokenIds = (index: number): number[] => {
    const random = generatorFor(seed, index);
    const low = Math.min(firstPlainId, Math.floor(vocabSize! / 4));
    return Array.from({ length: inputTokens }, () => low + Math.floor(random() * (vocabSize! - low)));
  };
  const text = (index: number): string => {
    const random = generatorFor(seed, index);
    return Array.from({ length: inputTokens }, () => words[Math.floor(random() * words.length)]!).join(" ");
  };
  return {
    inputTokens,
    outputTokens,
    seed,
    promptForm: vocabSize === null ? "text" : "token-ids",
    prompt: vocabSize === null ? text : tokenIds,
  };
}

/** Mulberry32: a small generator whose stream depends on seed and request only, so runs can be repeated. */
function generatorFor(seed: number, index: number): () => number {
  let state = (Math.imul(seed + 1, 0x9e3779b1) ^ Math.imul(index + 1, 0x85ebca6b)) >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}
