import { bbhLetterFilter, phraseFilter, sortedWordsFilter } from "../filters/choice-filters.ts";
import { type Filter, type FilterPipeline, noFilter } from "../filters/filter.ts";
import { numberFilter } from "../filters/number-filter.ts";
import { regexFilter } from "../filters/regex-filter.ts";
import { createExactMatch, exactMatch } from "../metrics/exact-match.ts";
import { badRow, isRow, type Row, readTexts } from "../row-reader.ts";
import type { GenerationSettings, GenerationTask, Shot, TaskFiles, TaskGroup } from "../task.ts";
import { bbhSubsets } from "./bbh-subsets.ts";

/** BIG-Bench Hard (Suzgun et al. 2022) in lm-eval's four forms. */
const forms = {
  cot_fewshot: { withShots: cotFewshotTask, filter: "get-answer", what: "with three chains of thought" },
  fewshot: { withShots: fewshotTask, filter: "none", what: "with three short examples" },
  cot_zeroshot: {
    withShots: cotZeroshotTask,
    filter: "flexible-extract",
    what: "asked to think step by step",
  },
  zeroshot: { withShots: zeroshotTask, filter: "flexible-extract", what: "without examples" },
} as const;

type Subset = keyof typeof bbhSubsets;

const step = "Let's think step by step.";

function partsOf(
  subset: Subset,
  form: keyof typeof forms,
): Pick<GenerationTask, "kind" | "name" | "summary" | "files" | "metrics"> {
  return {
    kind: "generate_until",
    name: `bbh_${form}_${subset}`,
    summary: `BIG-Bench Hard, ${subset.replaceAll("_", " ")}, ${forms[form].what}`,
    files: filesOf(subset),
    metrics: [exactMatch],
  };
}

function cotFewshotTask(subset: Subset): GenerationTask {
  return {
    ...partsOf(subset, "cot_fewshot"),
    version: 4,
    prompt: { description: descriptionOf(subset), targetDelimiter: "" },
    fewshot: { from: "file", path: shotFile(subset), read: readShots, count: 3 },
    generation: { max_gen_toks: 1024, until: ["</s>", "Q", "\n\n"], do_sample: false, temperature: 0 },
    filters: [{ name: "get-answer", steps: [regexFilter("(?<=the answer is )(.*)(?=.)")] }],
    readRow: (doc, where) => readRow(doc, where, `\nA: ${step}\n`),
    score: scoreExactly,
  };
}

function fewshotTask(subset: Subset): GenerationTask {
  return {
    ...partsOf(subset, "fewshot"),
    version: 2,
    prompt: { description: descriptionOf(subset) },
    fewshot: { from: "file", path: shotFile(subset), read: readShortShots, count: 3 },
    generation: { until: ["</s>", "Q", "\n\n"], do_sample: false, temperature: 0 },
    filters: [noFilter],
    readRow: (doc, where) => readRow(doc, where, "\nA:"),
    score: scoreExactly,
  };
}

const untilNextQuestion: GenerationSettings = {
  until: ["</s>", "Q:", "<|im_end|>"],
  do_sample: false,
  temperature: 0,
};
const phrases = ["The answer is ", "the answer is ", "The answer: ", "The final answer: "];
const afterPhrase: FilterPipeline = {
  name: "strict-match",
  steps: [regexFilter(`(${phrases.map((phrase) => `(?<=${phrase})(.*)(?=.)`).join("|")})`)],
};

function cotZeroshotTask(subset: Subset): GenerationTask {
  return {
    ...partsOf(subset, "cot_zeroshot"),
    version: 3,
    prompt: { description: descriptionOf(subset) },
    fewshot: { from: "none", count: 0 },
    generation: untilNextQuestion,
    filters: [{ name: "flexible-extract", steps: [flexibleFilter(subset, -1)] }, afterPhrase],
    readRow: (doc, where) => readRow(doc, where, `\nA: ${step}`),
    score: scoreLoosely,
  };
}

function zeroshotTask(subset: Subset): GenerationTask {
  return {
    ...partsOf(subset, "zeroshot"),
    version: 3,
    prompt: { description: descriptionOf(subset) },
    fewshot: { from: "none", count: 0 },
    generation: untilNextQuestion,
    filters: [
      { name: "strict-match", steps: [] },
      { name: "flexible-extract", steps: [flexibleFilter(subset, 0)] },
    ],
    readRow: (doc, where) => readRow(doc, where, "\nA:"),
    score: scoreLoosely,
  };
}

/** `select`: which match counts, the first or the last. */
function flexibleFilter(subset: Subset, select: 0 | -1): Filter {
  const { answers } = bbhSubsets[subset];
  switch (answers) {
    case "letters":
      return bbhLetterFilter(select);
    case "numbers":
      return numberFilter(select);
    case "words":
      return sortedWordsFilter;
    case "brackets":
      return regexFilter('(?<= )([" \\[\\(<{}>\\)\\]]+)|([" \\[\\(<{}>\\)\\]]+)', select);
    default:
      return typeof answers === "string"
        ? regexFilter(`\\b(${answers})\\b`, select)
        : phraseFilter(answers, select);
  }
}

function descriptionOf(subset: Subset): string {
  return `${bbhSubsets[subset].description}\n\n`;
}

function filesOf(subset: string): TaskFiles {
  return {
    root: "data",
    hub: { repo: "SaylorTwift/bbh", config: subset },
    splits: { test: [`bbh/${subset}.json`] },
    defaultSplit: "test",
    parse: parseExamples,
  };
}

const shotFile = (subset: string): string => `shots/bbh/${subset}.txt`;

function parseExamples(text: string, where: string): Row[] {
  const expected = "{examples: [{input, target}, …]}";
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw badRow(where, "is not JSON", expected, error);
  }
  const examples = isRow(value) ? value["examples"] : undefined;
  if (!Array.isArray(examples) || !examples.every(isRow)) throw badRow(where, "has no examples", expected);
  return examples;
}

function readRow(doc: Row, where: string, end: string): ReturnType<GenerationTask["readRow"]> {
  const { input, target } = readTexts(doc, ["input", "target"], where);
  return { doc, text: `Q: ${input}${end}`, answer: target };
}

/** Before a chain of thought; sports_understanding has a blank where the others begin a line. */
const beforeChain = new RegExp(`\\nA: ${step}[\\n ]`);

/** The worked examples behind the description of a prompt file of the BBH authors. */
function readShots(text: string, where: string): Shot[] {
  const body = text.slice(text.indexOf("\n-----\n") + "\n-----\n".length).replace(/\n+$/, "");
  const shots = body
    .split("\n\nQ: ")
    .slice(1)
    .map((shot): Shot => {
      const [question, answer] = shot.split(beforeChain, 2);
      if (answer === undefined)
        throw badRow(where, "has an example without a chain of thought", `"A: ${step}"`);
      return { text: `Q: ${question}\nA: ${step}\n`, answer };
    });
  if (shots.length === 0) throw badRow(where, "has no examples", "a description and examples Q: … A: …");
  return shots;
}

/** The same examples with nothing but the answer. */
function readShortShots(text: string, where: string): Shot[] {
  return readShots(text, where).map(
    (shot): Shot => ({
      text: shot.text.replace(`\nA: ${step}\n`, "\nA:"),
      answer: /the answer is (.*)\.$/.exec(shot.answer)?.[1] ?? shot.answer,
    }),
  );
}

const isExact = createExactMatch();
const isLooselyEqual = createExactMatch({
  ignoredPatterns: ["\\.$", ",", "\\\\", "\n", '"'],
  ignoresCase: true,
});

const scoreExactly: GenerationTask["score"] = ({ answer }, written) => ({
  exact_match: isExact(written, answer),
});
const scoreLoosely: GenerationTask["score"] = ({ answer }, written) => ({
  exact_match: isLooselyEqual(written, answer),
});

export const bbhTasks: readonly GenerationTask[] = Object.values(forms).flatMap(({ withShots }) =>
  (Object.keys(bbhSubsets) as Subset[]).map(withShots),
);

export const bbhGroups: readonly TaskGroup[] = Object.entries(forms).map(([form, { filter, what }]) => ({
  name: `bbh_${form}`,
  version: "3.0",
  summary: `BIG-Bench Hard, 27 tasks, ${what}`,
  members: Object.keys(bbhSubsets).map((subset) => `bbh_${form}_${subset}`),
  metrics: [{ key: `exact_match,${filter}`, isWeightedBySize: true }],
}));
