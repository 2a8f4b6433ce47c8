import { choiceLetterFilter } from "../filters/choice-filters.ts";
import { type Filter, type FilterPipeline, majorityVote, noFilter } from "../filters/filter.ts";
import { regexFilter } from "../filters/regex-filter.ts";
import { classMetrics } from "../metrics/classification.ts";
import { createExactMatch, type MatchOptions } from "../metrics/exact-match.ts";
import {
  type MetricDefinition,
  perplexities,
  perplexity,
  plainAggregations,
  share,
} from "../metrics/metric.ts";
import { strip } from "../python-text.ts";
import { badRow, isTexts } from "../row-reader.ts";
import type { Task } from "../task.ts";
import { invalidTask } from "./definition.ts";
import { pythonStr } from "./python-literal.ts";
import { isObject, type TaskKeys } from "./task-keys.ts";

const exactMatch = share("exact_match");
/** By how much the question makes a choice likelier than it is alone. */
export const mutualInfo = share("acc_mutual_info");

/** The metrics that each kind of task can have, and those that it has where its file names none. */
const metricsByKind: Readonly<Record<Task["kind"], readonly MetricDefinition[]>> = {
  multiple_choice: [
    share("acc"),
    share("acc_norm"),
    share("acc_bytes"),
    mutualInfo,
    exactMatch,
    ...classMetrics,
  ],
  loglikelihood: [perplexity("perplexity"), share("acc")],
  loglikelihood_rolling: perplexities,
  generate_until: [exactMatch],
};
const usualMetrics: Readonly<Record<Task["kind"], readonly string[]>> = {
  multiple_choice: ["acc", "acc_norm"],
  loglikelihood: ["perplexity", "acc"],
  loglikelihood_rolling: ["word_perplexity", "byte_perplexity", "bits_per_byte"],
  generate_until: ["exact_match"],
};

export interface ChosenMetrics {
  readonly metrics: readonly MetricDefinition[];
  /** Of an answer and a target; what `exact_match` deletes before it compares. */
  readonly match: (answer: string, target: string) => number;
}

/** `metric_list`. Throws `invalid_task` for a metric, aggregation or option that is not known. */
export function readMetrics(keys: TaskKeys, kind: Task["kind"]): ChosenMetrics {
  const known = metricsByKind[kind];
  const find = (name: unknown): MetricDefinition => {
    const found = known.find((metric) => metric.name === name);
    if (found !== undefined) return found;
    throw invalidTask(
      keys.whereIs("metric_list"),
      `has the metric ${JSON.stringify(name)}`,
      `A ${kind} task can have ${known.map((metric) => metric.name).join(", ")}`,
    );
  };
  const listed = keys.objects("metric_list") ?? usualMetrics[kind].map((metric) => ({ metric }));
  let options: MatchOptions = {};
  const metrics = listed.map((entry): MetricDefinition => {
    const { metric, aggregation, higher_is_better: direction, ...rest } = entry as Record<string, unknown>;
    const found = find(metric);
    if (kind === "generate_until") options = readMatchOptions(rest, keys);
    else if (Object.keys(rest).length > 0) throw unknownOption(keys, Object.keys(rest)[0]!);
    return {
      name: found.name,
      aggregation: aggregation === undefined ? found.aggregation : findAggregation(aggregation, found, keys),
      higherIsBetter: typeof direction === "boolean" ? direction : found.higherIsBetter,
    };
  });
  return { metrics, match: createExactMatch(options) };
}

/** Sums of log-likelihoods with weights cannot be averaged like scores, nor the other way round, nor classes. */
function findAggregation(
  name: unknown,
  metric: MetricDefinition,
  keys: TaskKeys,
): MetricDefinition["aggregation"] {
  const isWeighted = perplexities.some((each) => each.name === metric.name);
  const names = isWeighted ? ["weighted_perplexity", "bits_per_byte"] : ["mean", "perplexity"];
  const fitting = classMetrics.some((each) => each.name === metric.name)
    ? [metric.aggregation]
    : plainAggregations.filter((each) => names.includes(each.name));
  const found = fitting.find((each) => each.name === name);
  if (found !== undefined) return found;
  throw invalidTask(
    keys.whereIs("metric_list"),
    `aggregates ${metric.name} by ${JSON.stringify(name)}`,
    `It takes ${fitting.map((each) => each.name).join(" or ")}`,
  );
}

function readMatchOptions(options: Readonly<Record<string, unknown>>, keys: TaskKeys): MatchOptions {
  const read: { -readonly [K in keyof MatchOptions]: MatchOptions[K] } = {};
  for (const [key, value] of Object.entries(options)) {
    if (key === "regexes_to_ignore" && Array.isArray(value)) read.ignoredPatterns = value.map(String);
    else if (key === "ignore_case" && typeof value === "boolean") read.ignoresCase = value;
    else if (key === "ignore_punctuation" && typeof value === "boolean") read.ignoresPunctuation = value;
    else if (key === "ignore_numbers" && typeof value === "boolean") read.ignoresNumbers = value;
    else throw unknownOption(keys, key);
  }
  return read;
}

function unknownOption(keys: TaskKeys, key: string): Error {
  return invalidTask(
    keys.whereIs("metric_list"),
    `has the option "${key}" in a metric`,
    "exact_match takes regexes_to_ignore, ignore_case, ignore_punctuation and ignore_numbers; the others take aggregation and higher_is_better",
  );
}

type FilterStep = FilterPipeline["steps"][number];
type FilterReader = (options: Readonly<Record<string, unknown>>, keys: TaskKeys) => FilterStep;

const usualPattern = "#### (\\-?[0-9\\.\\,]+)";

/** lm-eval's filter functions. */
const filterReaders: Readonly<
  Record<string, { readonly options: readonly string[]; readonly read: FilterReader }>
> = {
  take_first: { options: [], read: () => ({ choose: ([first = ""]) => [first] }) },
  take_first_k: {
    options: ["k"],
    read: ({ k }, keys) => {
      const numTaken = readNumTaken(k, keys);
      return { choose: (answers) => answers.slice(0, numTaken) };
    },
  },
  majority_vote: { options: [], read: () => ({ choose: majorityVote }) },
  remove_whitespace: { options: [], read: () => strip },
  lowercase: { options: [], read: () => (answer) => answer.toLowerCase() },
  uppercase: { options: [], read: () => (answer) => answer.toUpperCase() },
  regex: {
    options: ["regex_pattern", "group_select", "fallback"],
    read: ({ regex_pattern: pattern = usualPattern, group_select: select = 0, fallback }) =>
      regexFilter(String(pattern), Number(select), fallback === undefined ? undefined : pythonStr(fallback)),
  },
  multi_choice_regex: {
    options: [
      "regex_pattern",
      "group_select",
      "fallback",
      "ignore_case",
      "ignore_punctuation",
      "regexes_to_ignore",
    ],
    read: readLetterFilter,
  },
  map: {
    options: ["mapping_dict", "default_value"],
    read: ({ mapping_dict: mapping, default_value: fallback = null }) => {
      const texts = new Map(Object.entries(isObject(mapping) ? mapping : {}));
      return (answer) => pythonStr(texts.get(answer) ?? fallback);
    },
  },
};

function readNumTaken(k: unknown, keys: TaskKeys): number {
  const repeats = keys.count("repeats") ?? 1;
  if (typeof k === "number" && Number.isInteger(k) && k >= 1 && k <= repeats) return k;
  throw invalidTask(
    keys.whereIs("filter_list"),
    `takes ${JSON.stringify(k) ?? "no number of"} answers by take_first_k`,
    `With repeats: ${repeats} it takes k from 1 to ${repeats}`,
  );
}

/** The choices stand in the row's own field of that name. */
function readLetterFilter(options: Readonly<Record<string, unknown>>): Filter {
  const { regex_pattern: pattern = usualPattern, group_select: select = 0, fallback, ...ignored } = options;
  const patterns = ignored["regexes_to_ignore"];
  return choiceLetterFilter(
    {
      pattern: String(pattern),
      select: Number(select),
      ...(fallback === undefined ? {} : { fallback: pythonStr(fallback) }),
      ignoredPatterns: Array.isArray(patterns) ? patterns.map(String) : [],
      ignoresCase: ignored["ignore_case"] === true,
      ignoresPunctuation: ignored["ignore_punctuation"] === true,
    },
    ({ doc }) => {
      if (isTexts(doc["choices"])) return doc["choices"];
      throw badRow("A row", "has no choices for multi_choice_regex", "a field choices that lists texts");
    },
  );
}

/** `filter_list`. Throws `invalid_task` for a function or option that is not known. */
export function readFilters(keys: TaskKeys): readonly FilterPipeline[] {
  const listed = keys.objects("filter_list");
  if (listed === undefined) return [noFilter];
  return listed.map(({ name, filter }): FilterPipeline => {
    if (typeof name !== "string" || !Array.isArray(filter) || !filter.every(isObject))
      throw keys.wrong("filter_list", "a list of {name, filter: [{function, …}]}");
    checkOrder(
      name,
      filter.map(({ function: step }) => step),
      keys,
    );
    const keepsList = filter.at(-1)?.["function"] !== "take_first";
    return { name, steps: filter.map((step) => readFilter(step, keys)), ...(keepsList ? { keepsList } : {}) };
  });
}

/** What follows `take_first` would see the letters of an answer in lm-eval, and what lacks it several answers. */
function checkOrder(name: string, steps: readonly unknown[], keys: TaskKeys): void {
  const isWhole = steps.at(-1) === "take_first" || (keys.count("repeats") ?? 1) === 1;
  if (isWhole && !steps.slice(0, -1).includes("take_first")) return;
  throw invalidTask(
    keys.whereIs("filter_list"),
    isWhole
      ? `filters behind take_first in ${JSON.stringify(name)}`
      : `leaves several answers in ${JSON.stringify(name)}`,
    "take_first stands last, and where answers are repeated it must",
  );
}

function readFilter(
  { function: name, ...options }: Readonly<Record<string, unknown>>,
  keys: TaskKeys,
): FilterStep {
  const known =
    typeof name === "string" && Object.hasOwn(filterReaders, name) ? filterReaders[name] : undefined;
  if (known === undefined) {
    throw invalidTask(
      keys.whereIs("filter_list"),
      `has the filter ${JSON.stringify(name)}`,
      `There are ${Object.keys(filterReaders).join(", ")}`,
    );
  }
  const stranger = Object.keys(options).find((key) => !known.options.includes(key));
  if (stranger !== undefined) {
    throw invalidTask(
      keys.whereIs("filter_list"),
      `gives the filter ${String(name)} the option "${stranger}"`,
      `It takes ${known.options.join(", ") || "none"}`,
    );
  }
  return known.read(options, keys);
}
