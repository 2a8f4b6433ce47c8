import { z } from "zod";
import { bootstrap, type Interval, sum } from "../statistics.ts";
import { askForJson, type Judge } from "./judge.ts";

/** Two answers to one question; `label` is what people said, where it is known. */
export interface AnswerPair {
  readonly question: string;
  readonly reference?: string | undefined;
  readonly first: string;
  readonly second: string;
  readonly label?: Preference | undefined;
}

export type Preference = "first" | "second" | "tie";

export interface JudgedPair {
  readonly preference: Preference;
  /** The judge chose the same place, not the same answer, when the answers were swapped. */
  readonly isBiased: boolean;
  /** How clearly: log-odds or a difference of ratings, above 0 for the first; absent from a verdict in words. */
  readonly margin?: number;
}

/** Chooses the better answer of a pair; null where undecided. */
export type PairJudge = (pair: AnswerPair, signal: AbortSignal | undefined) => Promise<JudgedPair | null>;

/** Asks for a verdict in words twice, the answers in either order; only an answer that wins both times is preferred. */
export function textPairJudge(judge: Judge): PairJudge {
  return (pair, signal) => judgePair(pair, judge, signal);
}

async function judgePair(
  { question, reference, first, second }: AnswerPair,
  judge: Judge,
  signal: AbortSignal | undefined,
): Promise<JudgedPair | null> {
  const ask = async (a: string, b: string): Promise<"A" | "B" | "tie" | null> => {
    const judged = await askForJson(
      judge,
      {
        task: "Which of two answers to the question is better: A, B, or neither (tie)? Judge by what is right and complete, not by length or place.",
        example: { reason: "…", better: "tie" as const },
        schema: z.looseObject({ better: z.enum(["A", "B", "tie"]) }),
        input: { question, ...(reference === undefined ? {} : { reference }), A: a, B: b },
      },
      signal,
    );
    return judged?.better ?? null;
  };
  const [straight, swapped] = [await ask(first, second), await ask(second, first)];
  if (straight === null || swapped === null) return null;
  if (straight === "A" && swapped === "B") return { preference: "first", isBiased: false };
  if (straight === "B" && swapped === "A") return { preference: "second", isBiased: false };
  return { preference: "tie", isBiased: straight !== "tie" && straight === swapped };
}

export interface Agreement {
  readonly numPairs: number;
  /** Share of equal judgements. */
  readonly agreement: number;
  /**
   * 95 %, by resampling questions: labels of several people on one pair are no new evidence on the judge. Where all are
   * judged alike, that of Clopper and Pearson (1934) with as many trials as questions.
   */
  readonly interval: Interval | null;
  /** Cohen's kappa: agreement beyond what both would have by chance; null where chance alone gives 1. */
  readonly kappa: number | null;
}

/**
 * How far two judges agree on the same pairs (Cohen 1960).
 *
 * @param questions what each pair answers: pairs of one question are resampled together
 */
export function agreementOf(
  pairs: readonly (readonly [Preference, Preference])[],
  questions: readonly string[],
): Agreement {
  const kinds = ["first", "second", "tie"] as const;
  const shareOf = (side: 0 | 1, kind: Preference): number =>
    pairs.filter((pair) => pair[side] === kind).length / pairs.length;
  const agreement = pairs.filter(([a, b]) => a === b).length / pairs.length;
  const chance = kinds.reduce((total, kind) => total + shareOf(0, kind) * shareOf(1, kind), 0);
  return {
    numPairs: pairs.length,
    agreement,
    interval: intervalOf(pairs, questions),
    kappa: chance === 1 ? null : (agreement - chance) / (1 - chance),
  };
}

/** What a 95 % interval leaves out on either side. */
const tail = 0.025;

function intervalOf(
  pairs: readonly (readonly [Preference, Preference])[],
  questions: readonly string[],
): Interval | null {
  const clusters = new Map<string, { numEqual: number; numPairs: number }>();
  for (const [index, [a, b]] of pairs.entries()) {
    const cluster = clusters.get(questions[index]!) ?? { numEqual: 0, numPairs: 0 };
    clusters.set(questions[index]!, cluster);
    cluster.numEqual += a === b ? 1 : 0;
    cluster.numPairs += 1;
  }
  const counted = [...clusters.values()];
  const numEqual = sum(counted.map((cluster) => cluster.numEqual));
  // Resamples of equal rows are all equal: they would say that nothing is left to doubt.
  const least = tail ** (1 / counted.length);
  if (numEqual === 0) return { low: 0, high: 1 - least };
  if (numEqual === pairs.length) return { low: least, high: 1 };
  const share = ([rows]: readonly Int32Array[]): number[] => {
    const drawn = Array.from(rows!, (row) => counted[row]!);
    return [sum(drawn.map(({ numEqual }) => numEqual)) / sum(drawn.map(({ numPairs }) => numPairs))];
  };
  return bootstrap([counted.length], share)[0]!.interval;
}
