import fc from "fast-check";
import { expect, test } from "vitest";
import type { Ops, Tensor } from "../kernels/ops.ts";
import { sampleRows } from "../kernels/reference/reference-sampling.ts";
import type { SamplingBatch, SamplingOutput } from "../kernels/sampling.ts";
import { defaultSampling, maxBadWords, type SamplingParams } from "../protocol/sampling-params.ts";
import { checkSampling } from "./check-sampling.ts";
import { Sampler } from "./sampler.ts";
import { SequenceTable, sequenceKinds } from "./sequence-table.ts";
import type { TokenMask } from "./token-mask.ts";

const vocabSize = 40;
const endTokenId = 39;

interface Bench {
  readonly table: SequenceTable;
  readonly sampler: Sampler;
  /** Draws from these rows of logits. */
  draw(logits: readonly Float32Array[], rows: readonly number[], offsets?: readonly number[]): SamplingOutput;
}

function createBench(maxNumRows = 32): Bench {
  const table = new SequenceTable(8, 4);
  let current = new Float32Array(0);
  const ops = {
    sample: (logits: Tensor, batch: SamplingBatch, out: SamplingOutput) =>
      sampleRows(current, logits.cols, batch, out),
  } as unknown as Ops;
  const sampler = new Sampler(ops, table, maxNumRows, 5);
  return {
    table,
    sampler,
    draw(logits, rows, offsets = rows.map(() => 0)) {
      current = Float32Array.from(logits.flatMap((row) => [...row]));
      const tensor: Tensor = { id: 0, rows: logits.length, cols: vocabSize, form: "f32" };
      sampler.sample(tensor, Int32Array.from(rows), Int32Array.from(offsets), rows.length);
      return sampler.output;
    },
  };
}

interface Sequence {
  readonly prompt: readonly number[];
  readonly output: readonly number[];
  readonly sampling: SamplingParams;
}

function open({ table, sampler }: Bench, { prompt, output, sampling }: Sequence): number {
  const row = table.open(1, sequenceKinds.generate, prompt);
  sampler.admit(row, sampling, sampling.seed ?? 0n, [endTokenId]);
  for (const id of output) table.append(row, id);
  return row;
}

function logitsOf(seed: number): Float32Array {
  return Float32Array.from({ length: vocabSize }, (_, id) => 4 * Math.sin((id + 1) * (seed + 1.7)));
}

/** Writes drafts where the table keeps them: after the known tokens. */
function propose(table: SequenceTable, row: number, drafts: readonly number[]): void {
  for (const id of drafts) table.append(row, id);
  table.numTokens[row]! -= drafts.length;
}

const rowOf = (out: SamplingOutput, index: number): unknown => ({
  token: out.tokenIds[index],
  logprob: out.logprobs[index],
  rank: out.ranks[index],
  top: [...out.topIds.subarray(index * 5, index * 5 + 3)],
});

const token = fc.nat(vocabSize - 1);
const tokens = (maxLength: number): fc.Arbitrary<number[]> => fc.array(token, { maxLength });
const smallToken = fc.nat(3);

const sampling: fc.Arbitrary<SamplingParams> = fc
  .record({
    temperature: fc.constantFrom(0, 0.8, 1.5),
    topP: fc.constantFrom(1, 0.7),
    minTokens: fc.nat(4),
    seed: fc.bigInt({ min: 0n, max: 1n << 60n }),
    repetitionPenalty: fc.constantFrom(1, 1.4, 0.8),
    frequencyPenalty: fc.constantFrom(0, 0.5, -1),
    presencePenalty: fc.constantFrom(0, 1.5, -0.5),
    stopTokenIds: tokens(2),
    logitBias: fc.constantFrom(
      null,
      new Map([
        [3, 2],
        [7, -Infinity],
      ]),
    ),
    allowedTokenIds: fc.constantFrom(null, [0, 1, 2, 3, 8, 13, 21, 34]),
    badWords: fc.array(fc.array(smallToken, { minLength: 1, maxLength: 3 }), { maxLength: 4 }),
  })
  .map((some) => ({ ...defaultSampling, maxTokens: 100, logprobs: 3, ...some }));

const sequence: fc.Arbitrary<Sequence> = fc.record({
  prompt: fc.array(token, { minLength: 1, maxLength: 12 }),
  output: fc.array(smallToken, { maxLength: 6 }),
  sampling,
});

/** The logits that the request draws from, straight from the definitions. */
function changedLogits(raw: Float32Array, { prompt, output, sampling: s }: Sequence): number[] {
  const banned = new Set<number>();
  for (const word of s.badWords) {
    const before = word.slice(0, -1);
    const end = output.slice(output.length - before.length);
    if (before.length <= output.length && before.every((id, at) => id === end[at])) banned.add(word.at(-1)!);
  }
  if (output.length < s.minTokens) for (const id of [endTokenId, ...s.stopTokenIds]) banned.add(id);
  return Array.from(raw, (logit, id) => {
    if (banned.has(id) || s.allowedTokenIds?.includes(id) === false) return -Infinity;
    let x = logit + (s.logitBias?.get(id) ?? 0);
    const count = output.filter((each) => each === id).length;
    if (count > 0 || prompt.includes(id)) x = x > 0 ? x / s.repetitionPenalty : x * s.repetitionPenalty;
    return x - s.frequencyPenalty * count - (count > 0 ? s.presencePenalty : 0);
  });
}

test("greedy rows take the highest logit of the definitions: bans, bias, penalties, mask", () => {
  fc.assert(
    fc.property(sequence, fc.nat(1000), (some, seed) => {
      const bench = createBench();
      const greedy = { ...some, sampling: { ...some.sampling, temperature: 0 } };
      const row = open(bench, greedy);
      const out = bench.draw([logitsOf(seed)], [row]);
      const expected = changedLogits(logitsOf(seed), greedy);
      const best = Math.max(...expected);
      if (best === -Infinity) expect(bench.sampler.faultOf(row, 0)?.code).toBe("no_token_allowed");
      else expect(expected[out.tokenIds[0]!]).toBeCloseTo(best, 5);
    }),
    { numRuns: 300, seed: 1 },
  );
});

test("a batch of rows draws what each row draws alone", () => {
  fc.assert(
    fc.property(fc.array(sequence, { minLength: 2, maxLength: 6 }), (sequences) => {
      const bench = createBench();
      const rows = sequences.map((some) => open(bench, some));
      const logits = sequences.map((_, index) => logitsOf(index));
      const together = bench.draw(logits, rows);
      const results = rows.map((_, index) => rowOf(together, index));
      for (const [index, row] of rows.entries()) {
        expect(rowOf(bench.draw([logits[index]!], [row]), 0)).toEqual(results[index]);
      }
    }),
    { numRuns: 150, seed: 2 },
  );
});

test("the row behind drafts draws as if they had been accepted, among other sequences", () => {
  const drafted = fc.record({ sequence, drafts: fc.array(smallToken, { maxLength: 4 }) });
  fc.assert(
    fc.property(fc.array(drafted, { minLength: 1, maxLength: 3 }), (some) => {
      const bench = createBench();
      const rows: number[] = [];
      const offsets: number[] = [];
      const expected: unknown[] = [];
      const logits: Float32Array[] = [];
      for (const { sequence: each, drafts } of some) {
        const row = open(bench, each);
        propose(bench.table, row, drafts);
        for (let offset = 0; offset <= drafts.length; offset += 1) {
          rows.push(row);
          offsets.push(offset);
          const next = logitsOf(rows.length);
          logits.push(next);
          const grown = { ...each, output: [...each.output, ...drafts.slice(0, offset)] };
          const isReachable = grown.output
            .slice(each.output.length)
            .every((id) => each.sampling.allowedTokenIds?.includes(id) !== false);
          const alone = createBench();
          const out = alone.draw([next], [open(alone, grown)]);
          expected.push(isReachable ? rowOf(out, 0) : expect.anything());
        }
      }
      const out = bench.draw(logits, rows, offsets);
      expect(rows.map((_, index) => rowOf(out, index))).toEqual(expected);
    }),
    { numRuns: 150, seed: 3 },
  );
});

test("draws go on from where they were as tokens are appended, and rows start anew when reused", () => {
  const request: Sequence = {
    prompt: [5, 6, 5],
    output: [],
    sampling: { ...defaultSampling, temperature: 1, seed: 3n, repetitionPenalty: 1.3, frequencyPenalty: 0.4 },
  };
  const bench = createBench();
  for (let round = 0; round < 2; round += 1) {
    const row = open(bench, request);
    const output: number[] = [];
    for (let step = 0; step < 60; step += 1) {
      const drawn = bench.draw([logitsOf(step)], [row]).tokenIds[0]!;
      const fresh = createBench();
      expect(fresh.draw([logitsOf(step)], [open(fresh, { ...request, output })]).tokenIds[0]).toBe(drawn);
      bench.table.append(row, drawn);
      output.push(drawn);
    }
    bench.sampler.release(row);
    bench.table.close(row);
  }
});

/** Allows the successor of the last token, and of 0 at first; keeps what it was told. */
class SuccessorMask implements TokenMask {
  readonly seen: number[] = [0];
  readonly fault = null;
  isClosed = false;
  fill(into: Uint32Array, at: number): void {
    const next = (this.seen.at(-1)! + 1) % vocabSize;
    into.fill(0, at, at + 2);
    into[at + (next >>> 5)] = 1 << (next & 31);
  }
  accept(tokenId: number): void {
    this.seen.push(tokenId);
  }
  rollback(count: number): void {
    this.seen.length -= count;
  }
  close(): void {
    this.isClosed = true;
  }
}

test("a mask sees the output's tokens once, tries allowed drafts and takes them back", () => {
  const bench = createBench();
  const row = open(bench, { prompt: [9, 9], output: [], sampling: { ...defaultSampling, temperature: 0 } });
  const mask = new SuccessorMask();
  bench.sampler.constrain(row, mask);
  const free = open(bench, { prompt: [1], output: [], sampling: { ...defaultSampling, temperature: 0 } });
  expect(bench.draw([logitsOf(1)], [row]).tokenIds[0]).toBe(1);
  bench.table.append(row, 1);
  expect(bench.draw([logitsOf(1)], [row]).tokenIds[0]).toBe(2);
  bench.table.append(row, 2);
  bench.table.append(row, 3);
  const logits = [0, 1, 2, 3, 4].map(logitsOf);
  const draw = (drafts: number[]): number[] => {
    propose(bench.table, row, drafts);
    return [...bench.draw(logits, [free, row, row, row, row], [0, 0, 1, 2, 3]).tokenIds.subarray(1, 5)];
  };
  expect(draw([4, 5, 6])).toEqual([4, 5, 6, 7]);
  expect(mask.seen).toEqual([0, 1, 2, 3]);
  // The second draft is forbidden: what stands behind it is not used, and the mask never hears of it.
  expect(draw([4, 17, 18]).slice(0, 2)).toEqual([4, 5]);
  expect(mask.seen).toEqual([0, 1, 2, 3]);
});

test("refuses values outside vLLM's ranges, naming the field", () => {
  const wrong: [string, Partial<SamplingParams>][] = [
    ["temperature", { temperature: 2.5 }],
    ["temperature", { temperature: NaN }],
    ["repetition_penalty", { repetitionPenalty: 0 }],
    ["repetition_penalty", { repetitionPenalty: -1 }],
    ["repetition_penalty", { repetitionPenalty: NaN }],
    ["repetition_penalty", { repetitionPenalty: 1e-50 }],
    ["repetition_penalty", { repetitionPenalty: 1e300 }],
    ["frequency_penalty", { frequencyPenalty: 2.1 }],
    ["presence_penalty", { presencePenalty: -Infinity }],
    ["allowed_token_ids", { allowedTokenIds: [] }],
    ["allowed_token_ids", { allowedTokenIds: [1, vocabSize] }],
    ["allowed_token_ids", { allowedTokenIds: [4, 5], badWords: [[4]], logitBias: new Map([[5, -Infinity]]) }],
    ["bad_words[1]", { badWords: [[1], []] }],
    ["bad_words[0]", { badWords: [[0.5]] }],
    ["bad_words", { badWords: Array.from({ length: maxBadWords + 1 }, () => [1]) }],
    ["logit_bias[1]", { logitBias: new Map([[1, 1e39]]) }],
    ["logit_bias[1]", { logitBias: new Map([[1, Infinity]]) }],
  ];
  const limits = { vocabSize, maxLogprobs: 20 };
  for (const [param, some] of wrong) {
    const attempt = (): void => checkSampling({ ...defaultSampling, ...some }, limits);
    expect(attempt, JSON.stringify(some)).toThrow(
      expect.objectContaining({ code: "invalid_request", param }),
    );
  }
  checkSampling(
    { ...defaultSampling, temperature: 2, repetitionPenalty: 1e-30, frequencyPenalty: -2 },
    limits,
  );
});
