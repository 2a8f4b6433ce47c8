import { countNgrams } from "./ngrams.ts";

/** F-measures in percent, as the rouge_score package gives them without stemming (Lin 2004). */
export interface RougeScores {
  readonly rouge1: number;
  readonly rouge2: number;
  /** Over sentences that line feeds part; each word counts once. */
  readonly rougeLsum: number;
}

function tokenize(text: string): string[] {
  return text
    .toLowerCase()
    .split(/[^a-z0-9]+/)
    .filter((token) => token !== "");
}

/** lm-eval parts sentences where a full stop stands alone. */
export function rouge(reference: string, text: string): RougeScores {
  const [wanted, given] = [reference, text].map((each) => each.replaceAll(" . ", ".\n")) as [string, string];
  return {
    rouge1: ngramScore(tokenize(wanted), tokenize(given), 1),
    rouge2: ngramScore(tokenize(wanted), tokenize(given), 2),
    rougeLsum: summaryScore(sentencesOf(wanted), sentencesOf(given)),
  };
}

function sentencesOf(text: string): string[][] {
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map(tokenize);
}

function fMeasure(hits: number, numWanted: number, numGiven: number): number {
  const precision = hits / Math.max(numGiven, 1);
  const recall = hits / Math.max(numWanted, 1);
  return precision + recall > 0 ? ((2 * precision * recall) / (precision + recall)) * 100 : 0;
}

function ngramScore(wanted: readonly string[], given: readonly string[], order: number): number {
  const known = countNgrams(given, order);
  let hits = 0;
  for (const [ngram, count] of countNgrams(wanted, order)) hits += Math.min(count, known.get(ngram) ?? 0);
  const numOf = (tokens: readonly string[]): number => Math.max(0, tokens.length - order + 1);
  return fMeasure(hits, numOf(wanted), numOf(given));
}

/** The union of the longest common subsequences of each reference sentence with all sentences of the text. */
function summaryScore(wanted: readonly string[][], given: readonly string[][]): number {
  const [numWanted, numGiven] = [wanted.flat().length, given.flat().length];
  if (numWanted === 0 || numGiven === 0) return 0;
  const [leftWanted, leftGiven] = [countNgrams(wanted.flat(), 1), countNgrams(given.flat(), 1)];
  let hits = 0;
  for (const sentence of wanted) {
    const places = new Set(given.flatMap((other) => commonPlaces(sentence, other)));
    for (const place of [...places].sort((a, b) => a - b)) {
      const token = sentence[place]!;
      const [before, after] = [leftWanted.get(token) ?? 0, leftGiven.get(token) ?? 0];
      if (before === 0 || after === 0) continue;
      hits += 1;
      leftWanted.set(token, before - 1);
      leftGiven.set(token, after - 1);
    }
  }
  return fMeasure(hits, numWanted, numGiven);
}

/** Places in `wanted` of one longest common subsequence: the one that rouge_score's walk back finds. */
function commonPlaces(wanted: readonly string[], given: readonly string[]): number[] {
  const width = given.length + 1;
  const lengths = new Int32Array((wanted.length + 1) * width);
  for (let i = 1; i <= wanted.length; i += 1) {
    for (let j = 1; j <= given.length; j += 1) {
      const at = i * width + j;
      lengths[at] =
        wanted[i - 1] === given[j - 1]
          ? lengths[at - width - 1]! + 1
          : Math.max(lengths[at - width]!, lengths[at - 1]!);
    }
  }
  const places: number[] = [];
  let [i, j] = [wanted.length, given.length];
  while (i > 0 && j > 0) {
    const at = i * width + j;
    if (wanted[i - 1] === given[j - 1]) {
      places.push(i - 1);
      i -= 1;
      j -= 1;
    } else if (lengths[at - 1]! > lengths[at - width]!) j -= 1;
    else i -= 1;
  }
  return places;
}
