// Folders of results and samples, as lm-eval and `millrace evaluate --out` both write them, read and compared.
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";

/**
 * The results and the samples of one run, whose folder has those of no other.
 *
 * @param nameOf what a task is called there
 */
export function readRun(folder, taskList, nameOf = (task) => task) {
  const files = readdirSync(folder, { recursive: true });
  const named = (start) =>
    path.join(
      folder,
      files.find((file) => path.basename(file).startsWith(start)),
    );
  const results = JSON.parse(readFileSync(named("results_"), "utf8"));
  const samplesOf = (task) =>
    readFileSync(named(`samples_${nameOf(task)}_`), "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line))
      .sort((a, b) => a.doc_id - b.doc_id);
  return {
    results,
    evaluation: Number(results.total_evaluation_time_seconds),
    nameOf,
    samples: Object.fromEntries(taskList.map((task) => [task, samplesOf(task)])),
  };
}

const likelihoods = (sample) => sample.filtered_resps.map(([value]) => Number(value));

/** For each task: the scores of both, how many documents are judged otherwise, and how far log-likelihoods are apart. */
export function compareRuns(ours, theirs, taskList) {
  const scoreOf = ({ results, nameOf }, task, metric) => results.results[nameOf(task)][`${metric},none`];
  return taskList.map((task) => {
    const metrics = ["acc", "acc_norm"].filter((metric) => scoreOf(theirs, task, metric) !== undefined);
    const pairs = ours.samples[task].map((sample, index) => [sample, theirs.samples[task][index]]);
    const gaps = pairs.flatMap(([a, b]) => {
      const others = likelihoods(b);
      return likelihoods(a).map((value, index) => Math.abs(value - others[index]));
    });
    return {
      task,
      scores: metrics.map((metric) => ({
        metric,
        ours: scoreOf(ours, task, metric),
        theirs: scoreOf(theirs, task, metric),
      })),
      numDocuments: pairs.length,
      numDiffering: pairs.filter(([a, b]) => metrics.some((metric) => a[metric] !== b[metric])).length,
      gaps,
    };
  });
}
