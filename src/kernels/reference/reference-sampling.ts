import { invariant } from "../../base/invariant.ts";
import { uniformDraw } from "../philox.ts";
import type { SamplingBatch, SamplingOutput, ScoreOutput } from "../sampling.ts";

/** Natural logarithm of Σ exp(logit), in f64. */
function logSumExp(logits: Float32Array): number {
  let max = -Infinity;
  for (let i = 0; i < logits.length; i += 1) max = Math.max(max, logits[i]!);
  if (max === -Infinity) return max;
  let sum = 0;
  for (let i = 0; i < logits.length; i += 1) sum += Math.exp(logits[i]! - max);
  return max + Math.log(sum);
}

/** Lowest id of the highest logit; −1 when none is above −Infinity. */
function highest(logits: Float32Array): number {
  let best = -1;
  let value = -Infinity;
  for (let i = 0; i < logits.length; i += 1) {
    if (logits[i]! > value) {
      value = logits[i]!;
      best = i;
    }
  }
  return best;
}

/** Writes the `count` highest ids by falling logit, ties to the lowest id, and their log-probabilities. */
function writeTop(
  logits: Float32Array,
  count: number,
  logTotal: number,
  into: { readonly ids: Int32Array; readonly logprobs: Float32Array; readonly at: number },
): void {
  const kept: number[] = [];
  for (let id = 0; id < logits.length && count > 0; id += 1) {
    const logit = logits[id]!;
    if (kept.length === count && !(logit > logits[kept.at(-1)!]!)) continue;
    let place = kept.length === count ? count - 1 : kept.length;
    while (place > 0 && logit > logits[kept[place - 1]!]!) {
      kept[place] = kept[place - 1]!;
      place -= 1;
    }
    kept[place] = id;
  }
  for (let rank = 0; rank < kept.length; rank += 1) {
    into.ids[into.at + rank] = kept[rank]!;
    into.logprobs[into.at + rank] = logits[kept[rank]!]! - logTotal;
  }
}

/** Log-likelihoods of `targets` under logits [targets.length, vocab]; results go from entry `first` on. */
export function scoreRows(
  logits: Float32Array,
  vocab: number,
  targets: Int32Array,
  first: number,
  out: ScoreOutput,
): void {
  for (let row = 0; row < targets.length; row += 1) {
    const rowLogits = logits.subarray(row * vocab, (row + 1) * vocab);
    const logTotal = logSumExp(rowLogits);
    const target = first + row;
    out.logprobs[target] = rowLogits[targets[row]!]! - logTotal;
    out.argmax[target] = highest(rowLogits);
    const place = { ids: out.topIds, logprobs: out.topLogprobs, at: target * out.topK };
    writeTop(rowLogits, Math.min(out.topK, vocab), logTotal, place);
  }
}

/** Up to here a temperature is greedy: its inverse is no useful number in f32. */
const lowestTemperature = 1e-30;

/** Draws one token for each row of logits [numRows, vocab] by the rule of `SamplingBatch`. */
export function sampleRows(
  logits: Float32Array,
  vocab: number,
  batch: SamplingBatch,
  out: SamplingOutput,
): void {
  const changed = new Float32Array(vocab);
  for (let row = 0; row < batch.numRows; row += 1) {
    const raw = logits.subarray(row * vocab, (row + 1) * vocab);
    changed.set(raw);
    addBiases(changed, batch, row);
    applyPenalties(changed, batch, row);
    applyMask(changed, batch, row);
    const token = batch.temperature[row]! > lowestTemperature ? draw(changed, batch, row) : highest(changed);
    const logTotal = logSumExp(raw);
    out.tokenIds[row] = token;
    out.logprobs[row] = token < 0 ? NaN : raw[token]! - logTotal;
    out.ranks[row] = token < 0 ? (highest(raw) < 0 ? 0 : -1) : 1 + countAhead(raw, token);
    const count = Math.max(0, Math.min(batch.numLogprobs[row]!, out.maxLogprobs, vocab));
    const place = { ids: out.topIds, logprobs: out.topLogprobs, at: row * out.maxLogprobs };
    writeTop(raw, count, logTotal, place);
  }
}

function addBiases(logits: Float32Array, batch: SamplingBatch, row: number): void {
  for (let i = batch.biasStarts[row]!; i < batch.biasStarts[row + 1]!; i += 1) {
    logits[batch.biasIds[i]!]! += batch.biasValues[i]!;
  }
}

const largest = 2 ** 128 - 2 ** 104;

function applyPenalties(logits: Float32Array, batch: SamplingBatch, row: number): void {
  const [repetition, frequency, presence] = batch.penalties.subarray(row * 3, row * 3 + 3);
  const [begin, end, draftEnd] = batch.historyRanges.subarray(row * 3, row * 3 + 3);
  const counts = new Map<number, number>();
  for (let i = begin!; i < draftEnd!; i += 1) counts.set(batch.historyIds[i]!, batch.historyCounts[i]!);
  invariant(end! <= draftEnd!, "drafts stand after their history");
  for (const [id, count] of counts) {
    const logit = logits[id]!;
    let x = logit;
    if (repetition !== 1) x = Math.fround(x > 0 ? x / repetition! : x * repetition!);
    if (count > 0) {
      x = Math.fround(x - Math.fround(frequency! * count));
      x = Math.fround(x - presence!);
    }
    logits[id] = Number.isFinite(logit) ? Math.min(Math.max(x, -largest), largest) : x;
  }
}

function applyMask(logits: Float32Array, batch: SamplingBatch, row: number): void {
  const mask = batch.maskRows[row]!;
  if (mask < 0) return;
  const wordsPerRow = Math.ceil(logits.length / 32);
  for (let id = 0; id < logits.length; id += 1) {
    const word = batch.allowed[mask * wordsPerRow + (id >>> 5)]!;
    if (((word >>> (id & 31)) & 1) === 0) logits[id] = -Infinity;
  }
}

function countAhead(logits: Float32Array, token: number): number {
  const value = logits[token]!;
  let count = 0;
  for (let id = 0; id < logits.length; id += 1) {
    if (logits[id]! > value || (logits[id] === value && id < token)) count += 1;
  }
  return count;
}

function draw(logits: Float32Array, batch: SamplingBatch, row: number): number {
  const best = highest(logits);
  if (best < 0) return -1;
  const temperature = batch.temperature[row]!;
  const weigh = (id: number): number => Math.exp((logits[id]! - logits[best]!) / temperature);
  const minP = batch.minP[row]!;
  const ids: number[] = [];
  for (let id = 0; id < logits.length; id += 1) if (weigh(id) >= minP && weigh(id) > 0) ids.push(id);
  // The sort is stable, so equal logits stay in order of id.
  const order = Int32Array.from(ids).sort((a, b) => logits[b]! - logits[a]!);
  const topK = batch.topK[row]!;
  const kept = topK > 0 ? order.subarray(0, topK) : order;
  const weights = Float64Array.from(kept, weigh);
  const count = nucleus(weights, batch.topP[row]!);
  let total = 0;
  for (let i = 0; i < count; i += 1) total += weights[i]!;
  const [keyLow, keyHigh] = [batch.seeds[row * 2]!, batch.seeds[row * 2 + 1]!];
  const u = uniformDraw(keyLow, keyHigh, batch.counters[row * 2]!, batch.counters[row * 2 + 1]!);
  let cumulative = 0;
  for (let i = 0; i < count; i += 1) {
    cumulative += weights[i]!;
    if (cumulative > u * total) return kept[i]!;
  }
  return kept[count - 1]!;
}

/** Length of the shortest prefix that reaches `topP` of the whole weight. */
function nucleus(weights: Float64Array, topP: number): number {
  if (!(topP < 1)) return weights.length;
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  let cumulative = 0;
  for (let i = 0; i < weights.length; i += 1) {
    cumulative += weights[i]!;
    if (cumulative >= topP * total) return i + 1;
  }
  return weights.length;
}
