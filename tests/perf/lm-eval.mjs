// lm-eval (Python) on rows of a local folder, for measurements beside it.
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";

/** Rows of the validation split by task, and lm-eval's own definition of it. HellaSwag's rows are prepared: they need another. */
const tasks = {
  arc_easy: { file: "arc/ARC-Easy-validation.jsonl", include: "arc/arc_easy.yaml" },
  piqa: { file: "piqa/plain_text-validation.jsonl", include: "piqa/piqa.yaml" },
  winogrande: {
    file: "winogrande/winogrande_xl-validation.jsonl",
    include: "winogrande/default.yaml",
  },
  openbookqa: {
    file: "openbookqa/main-validation.jsonl",
    include: "openbookqa/openbookqa.yaml",
  },
  hellaswag: {
    file: "hellaswag/validation-sample-1000.jsonl",
    own: {
      output_type: "multiple_choice",
      doc_to_text: "{{query}}",
      doc_to_target: "{{gold}}",
      doc_to_choice: "choices",
      metric_list: ["acc", "acc_norm"].map((metric) => ({
        metric,
        aggregation: "mean",
        higher_is_better: true,
      })),
    },
  },
};

export const taskNames = Object.keys(tasks);

/** The name that a task has in lm-eval's results: its definition is one of a file. */
export const localName = (task) => `local_${task}`;

/** Writes a task file for each task, in JSON, which YAML contains. */
function writeTaskFiles(folder, { python, data }) {
  const findTasks = "import importlib.util as u, os; print(os.path.dirname(u.find_spec('lm_eval').origin))";
  const package_ = execFileSync(python, ["-c", findTasks], { encoding: "utf8" }).trim();
  mkdirSync(folder, { recursive: true });
  for (const [name, { file, include, own }] of Object.entries(tasks)) {
    const definition = {
      ...(include === undefined ? own : { include: path.join(package_, "tasks", include) }),
      task: localName(name),
      dataset_path: "json",
      dataset_name: null,
      dataset_kwargs: { data_files: { validation: path.resolve(data, file) } },
      test_split: null,
      validation_split: "validation",
      training_split: null,
      fewshot_split: null,
      num_fewshot: 0,
    };
    writeFileSync(path.join(folder, `${localName(name)}.yaml`), JSON.stringify(definition));
  }
}

/**
 * What runs lm-eval: a function of its own arguments, the tasks, the limit and the folder of the results that gives a
 * command.
 *
 * @param python interpreter that has lm-eval
 * @param data folder of the rows
 * @param scratch folder for task files
 */
export function createLmEval({ python, data, scratch }) {
  const taskFolder = path.join(scratch, "tasks");
  writeTaskFiles(taskFolder, { python, data });
  const env = {
    ...process.env,
    HF_DATASETS_OFFLINE: "1",
    HF_HUB_OFFLINE: "1",
    OPENAI_API_KEY: process.env.OPENAI_API_KEY ?? "none",
  };
  return ({ args, taskList, limit, out }) => {
    const rows = ["--tasks", ...taskList.map(localName), "--limit", String(limit)];
    const files = ["--include_path", taskFolder, "--output_path", out, "--log_samples"];
    return { program: python, env, args: ["-m", "lm_eval", "run", ...rows, ...files, ...args] };
  };
}
