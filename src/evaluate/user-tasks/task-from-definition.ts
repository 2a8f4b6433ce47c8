import { generationForm, toGenerationSettings, wrongGenerationKey } from "../generation-settings.ts";
import { scoreChoices } from "../metrics/choice-scores.ts";
import type { MetricDefinition, Scores } from "../metrics/metric.ts";
import { scorePerplexities } from "../metrics/perplexities.ts";
import { badRow, isTexts, type Row } from "../row-reader.ts";
import type {
  ChoiceTask,
  Fewshot,
  GenerationSettings,
  GenerationTask,
  LikelihoodTask,
  PromptParts,
  RollingTask,
  Shot,
  Task,
} from "../task.ts";
import { type Definition, invalidTask } from "./definition.ts";
import { pythonStr } from "./python-literal.ts";
import { type RowFields, readRowFields } from "./row-fields.ts";
import { type ChosenMetrics, mutualInfo, readFilters, readMetrics } from "./scoring-keys.ts";
import { readSplits, readTaskFiles } from "./task-data-files.ts";
import { TaskKeys } from "./task-keys.ts";

/** What the kinds of task share. */
type Common = Omit<Task, "kind" | "readRow" | "score" | "programOf" | "loadScore" | "generation" | "filters">;

interface Parts {
  readonly keys: TaskKeys;
  readonly common: Common;
  readonly fields: RowFields;
  readonly scoring: ChosenMetrics;
}

const kinds = ["multiple_choice", "loglikelihood", "loglikelihood_rolling", "generate_until"] as const;

/**
 * The task of a definition in lm-eval's form, as far as that is data: templates, splits of local files, metrics, filters
 * and shots. Throws `invalid_task` by name and line for everything else.
 */
export function taskFromDefinition(definition: Definition): Task {
  const keys = new TaskKeys(definition);
  const kind = kinds.find((each) => each === (keys.text("output_type") ?? "generate_until"));
  if (kind === undefined) throw keys.wrong("output_type", kinds.join(", "));
  const scoring = readMetrics(keys, kind);
  const parts = { keys, scoring, common: readCommon(keys, scoring.metrics), fields: readRowFields(keys) };
  if (kind === "multiple_choice") return choiceTask(parts);
  if (kind === "loglikelihood") return likelihoodTask(parts);
  return kind === "loglikelihood_rolling" ? rollingTask(parts) : generationTask(parts);
}

function readCommon(keys: TaskKeys, metrics: readonly MetricDefinition[]): Common {
  const splits = readSplits(keys);
  const alias = keys.text("task_alias");
  const config = keys.object("fewshot_config") ?? {};
  const overrides = readFewshotOverrides(config, keys);
  const fewshotFields = readRowFields(keys, overrides);
  const version = keys.object("metadata")?.["version"];
  return {
    name: readName(keys),
    version: typeof version === "number" ? version : "Yaml",
    ...(alias === undefined ? {} : { alias }),
    summary: `from ${keys.definition.file}`,
    definitionHash: keys.definition.hash,
    files: readTaskFiles(keys, splits),
    fewshot: readFewshot(keys, fewshotFields, config),
    prompt: readPromptParts(keys, config),
    metrics,
    readShot: (row, where) => shotOf(fewshotFields, row, where),
  };
}

/** It becomes a part of file names and of what --limit names. */
function readName(keys: TaskKeys): string {
  const name = keys.neededText("task");
  if (/^\w[\w.+-]*$/.test(name)) return name;
  throw keys.wrong("task", "letters, digits, underscores, hyphens and dots");
}

const fewshotKeys =
  "sampler split samples doc_to_text doc_to_target doc_to_choice gen_prefix target_delimiter fewshot_delimiter".split(
    " ",
  );

function readFewshotOverrides(
  config: Readonly<Record<string, unknown>>,
  keys: TaskKeys,
): Readonly<Record<string, unknown>> {
  const stranger = Object.entries(config).find(
    ([key, value]) => !fewshotKeys.includes(key) && value !== null,
  );
  if (stranger === undefined) return config;
  throw invalidTask(
    keys.whereIs("fewshot_config"),
    `has "${stranger[0]}" in fewshot_config`,
    `It takes ${fewshotKeys.join(", ")}`,
  );
}

function readFewshot(keys: TaskKeys, fields: RowFields, config: Readonly<Record<string, unknown>>): Fewshot {
  const splits = readSplits(keys);
  const given = keys.count("num_fewshot");
  // lm-eval does not let the user change a zero that a task writes down.
  const count = { count: given ?? 0, isFixed: given === 0 };
  const { sampler = "default", samples } = config;
  if (sampler !== "default" && sampler !== "first_n")
    throw keys.wrong("fewshot_config", "sampler: default or first_n");
  if (samples !== undefined && samples !== null && splits.fewshot === undefined) {
    const rows = samples as Row[];
    if (!Array.isArray(samples)) throw keys.wrong("fewshot_config", "samples: a list of rows");
    const where = keys.whereIs("fewshot_config");
    return { ...count, from: "list", shots: rows.map((row) => shotOf(fields, row, where)) };
  }
  return {
    ...count,
    from: "split",
    split: splits.fewshot ?? splits.training ?? splits.validation ?? splits.test!,
    choice: sampler === "first_n" ? "first" : "sample",
    dropsOwnRow: splits.fewshot === splits.test,
  };
}

/** As written: what a row makes of templates among them stands in its question. */
function readPromptParts(keys: TaskKeys, config: Readonly<Record<string, unknown>>): PromptParts {
  const description = keys.text("description");
  const genPrefix = keys.text("gen_prefix");
  return {
    ...(description === undefined ? {} : { description }),
    ...delimitersOf(keys.text("target_delimiter"), keys.text("fewshot_delimiter")),
    ...(genPrefix === undefined ? {} : { genPrefix }),
    shots: delimitersOf(config["target_delimiter"], config["fewshot_delimiter"]),
  };
}

function delimitersOf(
  target: unknown,
  fewshot: unknown,
): Pick<PromptParts, "targetDelimiter" | "fewshotDelimiter"> {
  return {
    ...(typeof target === "string" ? { targetDelimiter: target } : {}),
    ...(typeof fewshot === "string" ? { fewshotDelimiter: fewshot } : {}),
  };
}

/** A row as an example: its text with the answer; where the choices are contexts, the right context with the target. */
function shotOf({ text, target, choices, around }: RowFields, row: Row, where: string): Shot {
  const asked = text(row, where);
  const right = target(row, where);
  const listed = choices?.(row, where) ?? [];
  const first = Array.isArray(right) ? (right as unknown[])[0] : right;
  const answer = typeof first === "number" ? chosen(listed, first, where) : String(first);
  const { genPrefix } = around(row, where);
  return {
    text: typeof asked === "number" ? chosen(listed, asked, where) : asked,
    answer,
    ...(genPrefix === undefined ? {} : { genPrefix }),
  };
}

function chosen(choices: readonly string[], index: number, where: string): string {
  const choice = choices[index];
  if (choice !== undefined) return choice;
  throw badRow(where, `names answer ${index}`, `an index from 0 to ${choices.length - 1}`);
}

function choiceTask({ keys, common, fields, scoring }: Parts): ChoiceTask {
  const { choices } = fields;
  if (choices === null)
    throw invalidTask(keys.definition.file, "has no doc_to_choice", "A multiple_choice task needs it");
  const hasF1 = scoring.metrics.some(({ name }) => name === "f1");
  return {
    ...common,
    kind: "multiple_choice",
    ...(scoring.metrics.some(({ name }) => name === mutualInfo.name) ? { asksWithoutContext: true } : {}),
    readRow: (doc, where) => {
      const listed = choices(doc, where);
      const target = fields.target(doc, where);
      const asked = fields.text(doc, where);
      const around = fields.around(doc, where);
      if (hasF1 && listed.length !== 2)
        throw badRow(where, `has ${listed.length} choices`, "two, as the metric f1 needs");
      if (Array.isArray(target)) {
        const golds = readGolds(target, listed, where);
        return {
          doc,
          ...around,
          text: String(asked),
          answer: listed[golds[0]!]!,
          choices: listed,
          gold: golds[0]!,
          golds,
          target: pythonStr(target),
        };
      }
      if (typeof asked === "number") {
        return {
          doc,
          ...around,
          text: chosen(listed, asked, where),
          answer: pythonStr(target),
          choices: listed,
          gold: asked,
          hasChoiceContexts: true,
        };
      }
      const gold = typeof target === "number" ? target : listed.indexOf(target as string);
      const answer = chosen(listed, gold, where);
      return {
        doc,
        ...around,
        text: asked,
        answer,
        choices: listed,
        gold,
        target: target as number | string,
      };
    },
    score: (question, likelihoods) => pick(scoreChoices(question, likelihoods), scoring.metrics),
  };
}

/** The indices of all right choices, where a row names several. */
function readGolds(target: readonly unknown[], choices: readonly string[], where: string): number[] {
  const golds = target.filter((each) => typeof each === "number");
  if (golds.length === 0 || golds.length < target.length)
    throw badRow(where, `names the right choices ${JSON.stringify(target)}`, "a list of indices");
  for (const index of golds) chosen(choices, index, where);
  return golds;
}

function likelihoodTask({ common, fields, scoring }: Parts): LikelihoodTask {
  return {
    ...common,
    kind: "loglikelihood",
    readRow: (doc, where) => ({
      doc,
      ...fields.around(doc, where),
      text: String(fields.text(doc, where)),
      answer: pythonStr(fields.target(doc, where)),
    }),
    score: (_question, { logLikelihood, isGreedy }) =>
      pick({ perplexity: logLikelihood, acc: isGreedy ? 1 : 0 }, scoring.metrics),
  };
}

function rollingTask({ common, fields, scoring }: Parts): RollingTask {
  return {
    ...common,
    kind: "loglikelihood_rolling",
    fewshot: { from: "none", count: 0 },
    readRow: (doc, where) => {
      const text = pythonStr(fields.target(doc, where));
      return { doc, text, countedText: text };
    },
    score: (question, logLikelihood) => pick(scorePerplexities(question, logLikelihood), scoring.metrics),
  };
}

function generationTask({ keys, common, fields, scoring }: Parts): GenerationTask {
  const targetsOf = (doc: Row, where: string): readonly string[] => {
    const target = fields.target(doc, where);
    if (Array.isArray(target)) return (target as unknown[]).map(pythonStr);
    const listed = fields.choices?.(doc, where);
    return [
      listed !== undefined && typeof target === "number" ? chosen(listed, target, where) : pythonStr(target),
    ];
  };
  const generation = keys.object("generation_kwargs");
  return {
    ...common,
    kind: "generate_until",
    generation:
      generation === undefined
        ? {
            until: [common.prompt?.fewshotDelimiter ?? "\n\n"],
            do_sample: false,
            temperature: 0,
            max_gen_toks: 256,
          }
        : readGeneration(generation, keys.whereIs("generation_kwargs")),
    repeats: readRepeats(keys),
    filters: readFilters(keys),
    readRow: (doc, where) => {
      const answers = targetsOf(doc, where);
      if (!isTexts(answers) || answers.length === 0)
        throw badRow(where, "has no target", "a text or a list of texts");
      const target = fields.target(doc, where);
      return {
        doc,
        ...fields.around(doc, where),
        text: String(fields.text(doc, where)),
        answer: answers[0]!,
        target: Array.isArray(target) ? pythonStr(target) : (target as string | number),
      };
    },
    // A row with several right answers takes the best.
    score: ({ doc }, answer) => ({
      exact_match: Math.max(...targetsOf(doc, common.name).map((target) => scoring.match(answer, target))),
    }),
  };
}

function readRepeats(keys: TaskKeys): number {
  const repeats = keys.count("repeats") ?? 1;
  if (repeats > 0) return repeats;
  throw keys.wrong("repeats", "a whole number from 1");
}

function readGeneration(values: Readonly<Record<string, unknown>>, where: string): GenerationSettings {
  const wrong = wrongGenerationKey(values);
  if (wrong === undefined) return toGenerationSettings(values);
  throw invalidTask(
    where,
    `sets the generation setting ${wrong} to ${JSON.stringify(values[wrong])}`,
    `It takes ${generationForm}`,
  );
}

function pick(scores: Scores, metrics: readonly MetricDefinition[]): Scores {
  return Object.fromEntries(metrics.map(({ name }) => [name, scores[name]!]));
}
