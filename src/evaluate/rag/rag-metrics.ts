import { z } from "zod";
import { mean, sum } from "../statistics.ts";
import { askForJson, type Judge } from "./judge.ts";

/** A question with what was found for it and what was answered. */
export interface RagRow {
  readonly question: string;
  readonly answer: string;
  /** In the order in which they were found. */
  readonly contexts: readonly string[];
  /** The right answer; some metrics need it. */
  readonly reference?: string | undefined;
}

/** Vectors of texts; only their directions count. */
export type Embed = (
  texts: readonly string[],
  signal: AbortSignal | undefined,
) => Promise<readonly Float32Array[]>;

export interface RagTools {
  readonly judge: Judge;
  /** Null where there is no embedding model: answer relevancy then has no value. */
  readonly embed: Embed | null;
  readonly signal?: AbortSignal | undefined;
}

/** Null: undecided, because the judge gave no usable answer or the row has nothing to judge. */
export type RagMetric = (row: RagRow, tools: RagTools) => Promise<number | null>;

const verdict = z.union([z.literal(0), z.literal(1), z.boolean()]).transform(Number);
const texts = z.array(z.string());

/** Share of the answer's statements that the contexts support. */
const faithfulness: RagMetric = async ({ question, answer, contexts }, { judge, signal }) => {
  const split = await askForJson(
    judge,
    {
      task: "Break the answer into statements that each say one thing and can be understood alone, without pronouns.",
      example: { statements: ["…"] },
      schema: z.object({ statements: texts }),
      input: { question, answer },
    },
    signal,
  );
  if (split === null || split.statements.length === 0) return null;
  return shareOfVerdicts(
    {
      task: "For each statement say whether it can be inferred directly from the context: 1 if it can, 0 if not.",
      input: { context: contexts.join("\n"), statements: split.statements },
    },
    { judge, signal },
  );
};

/** Share of the reference's sentences that the contexts support. */
const contextRecall: RagMetric = async ({ question, reference, contexts }, { judge, signal }) => {
  if (reference === undefined) return null;
  return shareOfVerdicts(
    {
      task: "Go through the answer sentence by sentence. For each say whether it can be attributed to the context: 1 if it can, 0 if not.",
      input: { question, context: contexts.join("\n"), answer: reference },
    },
    { judge, signal },
  );
};

async function shareOfVerdicts(
  { task, input }: { readonly task: string; readonly input: Readonly<Record<string, unknown>> },
  { judge, signal }: Pick<RagTools, "judge" | "signal">,
): Promise<number | null> {
  const example = { verdicts: [{ text: "…", reason: "…", verdict: 1 as const }] };
  const schema = z.object({ verdicts: z.array(z.looseObject({ verdict })) });
  const judged = await askForJson(judge, { task, example, schema, input }, signal);
  if (judged === null || judged.verdicts.length === 0) return null;
  return mean(judged.verdicts.map((each) => each.verdict));
}

/**
 * Average precision of the contexts' order: each is judged by itself, useful for the reference (or, without one, for the
 * answer) or not. Σ precision@k · v_k / Σ v; 0 where none is useful.
 */
const contextPrecision: RagMetric = async ({ question, answer, reference, contexts }, { judge, signal }) => {
  if (contexts.length === 0) return null;
  const verdicts: number[] = [];
  for (const context of contexts) {
    const judged = await askForJson(
      judge,
      {
        task: "Say whether the context was useful to arrive at the answer to the question: verdict 1 if it was, 0 if not.",
        example: { reason: "…", verdict: 1 as const },
        schema: z.looseObject({ verdict }),
        input: { question, context, answer: reference ?? answer },
      },
      signal,
    );
    if (judged === null) return null;
    verdicts.push(judged.verdict);
  }
  return averagePrecision(verdicts);
};

/** Of 0 and 1 in rank order. */
export function averagePrecision(verdicts: readonly number[]): number {
  let numUseful = 0;
  let total = 0;
  for (const [at, useful] of verdicts.entries()) {
    if (useful === 0) continue;
    numUseful += 1;
    total += numUseful / (at + 1);
  }
  return numUseful === 0 ? 0 : total / numUseful;
}

/** Questions that are made of the answer. */
const numQuestions = 3;

/**
 * Mean cosine of the question with questions that the judge makes of the answer alone; 0 where all of them say that the
 * answer commits to nothing. Can be below 0.
 */
const answerRelevancy: RagMetric = async ({ question, answer }, { judge, embed, signal }) => {
  if (embed === null) return null;
  const made: { readonly question: string; readonly noncommittal: number }[] = [];
  for (let at = 1; at <= numQuestions; at += 1) {
    const judged = await askForJson(
      judge,
      {
        task: `Write question number ${at} that the answer could be an answer to, different from earlier ones in wording. noncommittal is 1 if the answer evades, such as "I do not know", else 0.`,
        example: { question: "…", noncommittal: 0 as const },
        schema: z.looseObject({ question: z.string(), noncommittal: verdict }),
        input: { answer },
      },
      signal,
    );
    if (judged === null) return null;
    made.push(judged);
  }
  if (made.every(({ noncommittal }) => noncommittal === 1)) return 0;
  const [asked, ...others] = await embed([question, ...made.map((each) => each.question)], signal);
  return mean(others.map((other) => cosine(asked!, other)));
};

function cosine(a: Float32Array, b: Float32Array): number {
  const dot = (x: Float32Array, y: Float32Array): number => sum(Array.from(x, (value, i) => value * y[i]!));
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
}

export const ragMetrics: Readonly<Record<string, RagMetric>> = {
  faithfulness,
  answer_relevancy: answerRelevancy,
  context_precision: contextPrecision,
  context_recall: contextRecall,
};
