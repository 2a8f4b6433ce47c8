/** One question with its possible answers, ready for scoring. */
export interface ChoiceDocument {
  /** The row as it stands in the file; kept in the sample record. */
  readonly doc: Readonly<Record<string, unknown>>;
  readonly context: string;
  /** Answer texts without the delimiter that goes before them. */
  readonly choices: readonly string[];
  /** Index of the right one. */
  readonly gold: number;
}

/** One text whose every token is scored. */
export interface TextDocument {
  readonly doc: Readonly<Record<string, unknown>>;
  /** What the model sees. */
  readonly text: string;
  /** What words and bytes are counted on, as the task's definition says. */
  readonly countedText: string;
}

/** Where a task's rows lie. */
export interface TaskFiles {
  /** "data": the folder of `--data`; "embedded": comes with Millrace. */
  readonly root: "data" | "embedded";
  /** Paths below the root for each split, the first that exists is taken. */
  readonly splits: Readonly<Record<string, readonly string[]>>;
  readonly defaultSplit: string;
}

interface TaskBase {
  readonly name: string;
  /** lm-eval's version of the task; it changes when prompts or metrics do. */
  readonly version: number;
  readonly summary: string;
  readonly files: TaskFiles;
}

/** Scored by the log-likelihood of each answer after the context: `acc` and `acc_norm`. */
export interface ChoiceTask extends TaskBase {
  readonly kind: "multiple-choice";
  /** Throws `invalid_data_file` with the place given in `where`. */
  readonly readRow: (row: Readonly<Record<string, unknown>>, where: string) => ChoiceDocument;
}

/** Scored by rolling log-likelihood: `word_perplexity`, `byte_perplexity`, `bits_per_byte`. */
export interface RollingTask extends TaskBase {
  readonly kind: "rolling";
  readonly readFile: (text: string, where: string) => TextDocument[];
}

export type Task = ChoiceTask | RollingTask;
