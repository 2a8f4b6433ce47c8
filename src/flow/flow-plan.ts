import type { Progress } from "../base/progress.ts";
import type { TaskChoice } from "../evaluate/check-tasks.ts";
import type { LanguageModel } from "../evaluate/requests/model-request.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import type { EndpointLauncher } from "../protocol/endpoint-launcher.ts";
import type { SchemeName } from "../quantize/plan.ts";
import type { QuantizeTools } from "../quantize/quantize.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";

export type WeightDtype = "auto" | "bfloat16" | "float16" | "float32";

export interface FlowPlan extends TaskChoice {
  readonly modelPath: string;
  /** For people: the model's name. */
  readonly modelName: string;
  readonly scheme: SchemeName;
  readonly groupSize: number | null;
  /** What the base's weights become; the compressed model runs as stored. */
  readonly dtype: WeightDtype;
  readonly concurrencies: readonly number[];
  readonly requestsPerSeat: number;
  readonly minSeconds: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly outPath: string;
  /** Backend, instruction set and threads: results of other kernels are not kept. */
  readonly kernels: string;
}

/** One side of the comparison while the flow runs. */
export interface Side {
  readonly which: "base" | "compressed";
  /** Name of the model in records and in the API. */
  readonly name: string;
  readonly path: string;
  readonly dtype: WeightDtype;
  readonly folder: string;
  readonly vocabSize: number;
}

/** A model opened to answer tasks. */
export interface TaskModel {
  readonly model: LanguageModel;
  /** How it runs, for the record. */
  readonly modelArgs: Readonly<Record<string, unknown>>;
  /** Backend, instruction set and threads; null where they are not known. */
  readonly kernels: string | null;
  /** Null where the model takes messages and its tokens are not known. */
  readonly tokenizer: Tokenizer | null;
  readonly close: () => Promise<void>;
}

/** What the flow needs from outside: it knows no engine and no process. */
export interface FlowTools extends Required<Pick<QuantizeTools, "solver">> {
  readonly openModel: (modelPath: string) => Checkpoint;
  readonly openTaskModel: (modelPath: string, dtype: WeightDtype) => Promise<TaskModel>;
  readonly createLauncher: (side: Side) => EndpointLauncher;
  readonly progress: Progress;
  readonly signal: AbortSignal;
}
