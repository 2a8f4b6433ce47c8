import { type FilterPipeline, noFilter } from "../filters/filter.ts";
import { share } from "../metrics/metric.ts";
import { badRow, isTexts, type Row, readTexts } from "../row-reader.ts";
import type { ProgramTask } from "../task.ts";

const createTest: FilterPipeline = {
  name: "create_test",
  steps: [(answer, { doc }) => String(doc["prompt"]) + answer],
  keepsList: true,
};

/** HumanEval (Chen et al. 2021) as lm-eval's `humaneval`, version 1: one program a problem. */
export const humaneval: ProgramTask = {
  kind: "generate_until",
  name: "humaneval",
  version: 1,
  summary: "HumanEval: Python functions from their descriptions, run against tests",
  files: {
    root: "data",
    hub: { repo: "openai/openai_humaneval", config: null },
    splits: { test: ["humaneval/HumanEval.jsonl"] },
    defaultSplit: "test",
  },
  fewshot: { from: "none", count: 0 },
  generation: { until: ["\nclass", "\ndef", "\n#", "\nif", "\nprint"], max_gen_toks: 1024, do_sample: false },
  filters: [createTest],
  metrics: [share("pass@1")],
  readRow: (doc, where) => {
    const { prompt, test, entry_point: entry } = readTexts(doc, ["prompt", "test", "entry_point"], where);
    return { doc, text: prompt, answer: `${test}\ncheck(${entry})` };
  },
  programOf: ({ answer }, written) => `${written}\n${answer}`,
};

/** MBPP (Austin et al. 2021) as lm-eval's `mbpp`, version 1, with its three fixed examples. */
export const mbpp: ProgramTask = {
  kind: "generate_until",
  name: "mbpp",
  version: 1,
  summary: "MBPP: short Python programs after three examples, run against tests",
  files: {
    root: "data",
    hub: { repo: "google-research-datasets/mbpp", config: "full" },
    splits: { test: ["mbpp/mbpp.jsonl"], prompt: ["mbpp/mbpp.jsonl"] },
    defaultSplit: "test",
    select: (row, split) => isBetween(row["task_id"], split === "test" ? [11, 510] : [2, 4]),
  },
  fewshot: { from: "split", split: "prompt", choice: "first", count: 3, isFixed: true },
  prompt: { targetDelimiter: "" },
  generation: { until: ["[DONE]"], do_sample: false },
  filters: [noFilter],
  metrics: [share("pass_at_1")],
  readRow: readMbppRow,
  readShot: (doc, where) => {
    const { text } = readMbppRow(doc, where);
    return { text, answer: `${readTexts(doc, ["code"], where).code}\n[DONE]` };
  },
  programOf: ({ answer }, written) => `${written}\n${answer}`,
};

function readMbppRow(doc: Row, where: string): ReturnType<ProgramTask["readRow"]> {
  const { text } = readTexts(doc, ["text"], where);
  const { test_list: tests } = doc;
  if (!isTexts(tests) || tests.length < 3)
    throw badRow(where, "has no three tests", "{text, code, task_id, test_list}");
  const asserts = tests.slice(0, 3).join("\n");
  const question = `You are an expert Python programmer, and here is your task: ${text} Your code should pass these tests:\n\n${asserts}\n[BEGIN]\n`;
  return { doc, text: question, answer: asserts };
}

function isBetween(value: unknown, [first, last]: readonly [number, number]): boolean {
  return typeof value === "number" && value >= first && value <= last;
}
