import { noFilter } from "../filters/filter.ts";
import {
  checkLoosely,
  checkStrictly,
  type Instruction,
  instructionChecks,
  type LanguageTools,
} from "../ifeval/instructions.ts";
import { LanguageDetector, type LanguageProfile } from "../ifeval/language-detector.ts";
import { SentenceSplitter } from "../ifeval/sentence-splitter.ts";
import { share, shareOfVerdicts } from "../metrics/metric.ts";
import { badRow, isRow, isTexts, type Row, readTexts } from "../row-reader.ts";
import type { SupportedTask } from "../task.ts";

const punktFolder = "ifeval-support/punkt-english";

/** IFEval (Zhou et al. 2023) as lm-eval's `ifeval`, version 4. */
export const ifeval: SupportedTask = {
  kind: "generate_until",
  name: "ifeval",
  version: 4,
  summary: "IFEval: instructions whose following can be verified",
  files: {
    root: "data",
    hub: { repo: "google/IFEval", config: null },
    splits: { train: ["ifeval/input_data.jsonl"] },
    defaultSplit: "train",
  },
  fewshot: { from: "none", count: 0 },
  generation: { until: [], do_sample: false, temperature: 0, max_gen_toks: 1280 },
  filters: [noFilter],
  metrics: [
    share("prompt_level_strict_acc"),
    shareOfVerdicts("inst_level_strict_acc"),
    share("prompt_level_loose_acc"),
    shareOfVerdicts("inst_level_loose_acc"),
  ],
  readRow: (doc, where) => {
    const { prompt } = readTexts(doc, ["prompt"], where);
    readInstructions(doc, where);
    return { doc, text: prompt, answer: "0" };
  },
  loadScore: (read) => {
    const tools = loadLanguageTools(read);
    return ({ doc }, answer) => {
      const instructions = readInstructions(doc, "");
      const strict = checkStrictly(answer, instructions, tools);
      const loose = checkLoosely(answer, instructions, tools);
      return {
        prompt_level_strict_acc: strict.every(Boolean) ? 1 : 0,
        inst_level_strict_acc: strict,
        prompt_level_loose_acc: loose.every(Boolean) ? 1 : 0,
        inst_level_loose_acc: loose,
      };
    };
  },
};

/** The instructions of a row, with the parameters that it gives. */
export function readInstructions(doc: Row, where: string): Instruction[] {
  const { instruction_id_list: ids, kwargs } = doc;
  if (!isTexts(ids) || !Array.isArray(kwargs) || kwargs.length !== ids.length || !kwargs.every(isRow))
    throw badRow(
      where,
      "is no IFEval prompt",
      "{key, prompt, instruction_id_list, kwargs: one object for each}",
    );
  return ids.map((id, index) => {
    if (instructionChecks[id] === undefined)
      throw badRow(
        where,
        `names the instruction ${id}`,
        `one of ${Object.keys(instructionChecks).join(", ")}`,
      );
    return { id, parameters: kwargs[index] as Row };
  });
}

/** Reads what the checks know of languages, by paths below the data folder. */
export function loadLanguageTools(read: (path: string) => string): LanguageTools {
  const lines = (name: string): string[] =>
    read(`${punktFolder}/${name}`)
      .split("\n")
      .filter((line) => line !== "");
  const orthography = lines("ortho_context.tab").map((line): [string, number] => {
    const [word = "", bits] = line.split("\t");
    return [word, Number(bits)];
  });
  return {
    sentences: new SentenceSplitter({
      abbreviations: new Set(lines("abbrev_types.txt")),
      collocations: new Set(lines("collocations.tab")),
      sentenceStarters: new Set(lines("sent_starters.txt")),
      orthography: new Map(orthography),
    }),
    detector: new LanguageDetector(
      JSON.parse(read("ifeval-support/langdetect-profiles.json")) as Record<string, LanguageProfile>,
    ),
  };
}
