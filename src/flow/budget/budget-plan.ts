import type { TaskChoice } from "../../evaluate/check-tasks.ts";
import type { ModelWeights, TokenizerSource } from "../../formats/checkpoint.ts";
import type { ComparableLogits } from "../../protocol/logit-source.ts";
import type { CalibrationTools } from "../../quantize/calibration/collect-statistics.ts";
import type { FlowTools, WeightDtype } from "../flow-plan.ts";
import type { Budget } from "./budget.ts";
import type { LadderFormat } from "./ladder.ts";

/** What is searched for, wherever it is put. */
export interface BudgetQuestion {
  readonly modelPath: string;
  /** For people. */
  readonly modelName: string;
  readonly budget: Budget;
  readonly dtype: WeightDtype;
  /** What candidates hold in place of the model's own; null for that. */
  readonly tokenizer: TokenizerSource | null;
  /** Linears that stay dense in every candidate. */
  readonly ignore: readonly string[];
  readonly maxMemoryBytes: number | null;
  /** Sequences of token ids that quality is measured on: all but the first of each are predicted. */
  readonly windows: readonly Int32Array[];
  /** Where the tokens come from, for the record. */
  readonly text: { readonly file: string; readonly sha256: string };
  /** Of the candidates; GGUF where `isMixed`. */
  readonly format: LadderFormat;
  /** Whether candidates are GGUF files whose types follow the sensitivity of each matrix; needs calibration. */
  readonly isMixed: boolean;
  /** The tasks that recovery is asked on; null for none. */
  readonly tasks: TaskChoice | null;
  /** sha256 of each file that the tasks read. */
  readonly taskFiles: Readonly<Record<string, string>>;
  /** Backend, instruction set and threads: figures of other kernels are not kept. */
  readonly kernels: string;
}

export interface BudgetPlan extends BudgetQuestion {
  /** Folder that the chosen model becomes. */
  readonly outPath: string;
  /** Where candidates are made and figures are kept. */
  readonly searchPath: string;
}

/** What a search needs from outside. */
export interface BudgetTools extends FlowTools {
  readonly openLogits: (
    checkpoint: ModelWeights,
    dtype: WeightDtype,
    windows: readonly Int32Array[],
  ) => OpenedLogits;
  /** Kernels for models that share most of their matrices. */
  readonly openVariants: (windows: readonly Int32Array[]) => LogitVariants;
  readonly calibration: CalibrationTools | null;
}

/** Opens models one after the other. Matrices that are the same objects as an earlier model's are packed once. */
export interface LogitVariants {
  readonly open: (model: ModelWeights) => ComparableLogits;
  readonly close: () => void;
}

export interface OpenedLogits {
  readonly source: ComparableLogits;
  readonly close: () => void;
}
