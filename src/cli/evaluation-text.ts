import type { PromptTokens } from "../evaluate/requests/model-request.ts";
import type { Task, TaskGroup } from "../evaluate/task.ts";
import type { TaskRegistry } from "../evaluate/task-registry.ts";
import type { EvaluationRecord } from "../records/evaluation.ts";
import { formatTable, printLine, printNote } from "./terminal.ts";

/** Explains every task and group. */
export function printTasks(registry: TaskRegistry): void {
  printLine(formatTable(["group", "members"], registry.groups.map(groupRow)));
  printLine("");
  const header = ["task", "kind", "shots", "metrics", "files", "hub", "what"];
  printLine(formatTable(header, registry.tasks.map(taskRow)));
}

function groupRow({ name, members }: TaskGroup): string[] {
  const [first = "", ...others] = members;
  const named =
    members.length <= 4 ? members.join(", ") : `${first} … ${others.at(-1)!}, ${members.length} in all`;
  return [name, named];
}

/** Paths are below --data, but for tasks with a file of their own. */
function taskRow({ name, kind, fewshot, metrics, files, summary }: Task): string[] {
  const { isFixed, count, from } = fewshot;
  const shots = from === "none" || isFixed === true ? `${count}, always` : `${count}`;
  const [file = ""] = files.splits[files.defaultSplit] ?? [];
  const place = files.root === "embedded" ? "comes with Millrace" : file;
  const hub = files.hub === undefined ? "" : [files.hub.repo, files.hub.config].join(" ").trim();
  return [name, kind, shots, metrics.map((metric) => metric.name).join(" "), place, hub, summary];
}

/** What a reader of the figures should know of how they came about. */
export function printRunNotes(record: EvaluationRecord): void {
  const { prompt_tokens: tokens } = record;
  printPromptTokens(tokens && { numSent: tokens.sent, numCached: tokens.cached });
  printShortenedPrompts(record);
  printCutAnswers(record);
}

/** Those that were computed beside those that a cache had. Prints nothing where no prompt was sent, or none was counted. */
export function printPromptTokens(tokens: PromptTokens | undefined): void {
  if (tokens === undefined || tokens.numSent === 0) return;
  const { numSent: sent, numCached: cached } = tokens;
  const count = (value: number): string => value.toLocaleString("en");
  const share = cached === null ? 0 : (100 * cached) / sent;
  const known =
    cached === null
      ? "the server does not say how many of them it had in its cache"
      : `${count(cached)} (${share.toFixed(1)} %) from the prefix cache, ${count(sent - cached)} computed`;
  printNote(`${count(sent)} prompt tokens: ${known}`);
}

/** As in lm-eval; but who reads the figure should know. */
function printShortenedPrompts({
  shortened_prompts: shortened = {},
  max_length: context,
}: EvaluationRecord): void {
  for (const [task, numShort] of Object.entries(shortened)) {
    printNote(
      `${task}: ${numShort} prompts are longer than the context of ${context} tokens and lost their beginning. Raise it with --max-model-len where the model reads more, or lower --num-fewshot.`,
    );
  }
}

/** An answer that never came to its end is scored as it is; a score of many such says little of the model. */
function printCutAnswers({ cut_answers: cut = {}, configs, "n-samples": counts }: EvaluationRecord): void {
  for (const [task, numCut] of Object.entries(cut)) {
    if (numCut === 0) continue;
    const numAnswers = counts[task]!.effective * Number(configs[task]!["repeats"]);
    printNote(
      `${task}: ${numCut} of ${numAnswers} answers ran into their limit of tokens and were scored as they are. Raise it with --gen-kwargs max_gen_toks=N.`,
    );
  }
}

/** The table of figures, or the whole record but for its samples. */
export function printResults(record: EvaluationRecord, json: boolean): void {
  if (json) {
    const { samples: _samples, ...results } = record;
    printLine(JSON.stringify(results, null, 2));
    return;
  }
  const rows = Object.entries(record.results).flatMap(([task, values]) =>
    Object.entries(values).flatMap(([key, value]) => {
      const [metric, filter] = key.split(",");
      if (typeof value !== "number" || filter === undefined || metric!.endsWith("_stderr")) return [];
      const stderr = values[`${metric}_stderr,${filter}`];
      const error = typeof stderr === "number" ? `± ${stderr.toFixed(4)}` : "";
      const shots = String(record["n-shot"][task] ?? "");
      return [[task, shots, filter, metric!, String(Number(values["sample_len"])), value.toFixed(4), error]];
    }),
  );
  printLine(formatTable(["task", "shots", "filter", "metric", "documents", "value", "stderr"], rows));
}
