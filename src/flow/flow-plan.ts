import type { Progress } from "../base/progress.ts";
import type { TaskChoice } from "../evaluate/check-tasks.ts";
import type { LanguageModel } from "../evaluate/requests/model-request.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import type { EndpointLauncher } from "../protocol/endpoint-launcher.ts";
import type { SchemeName } from "../quantize/plan.ts";
import type { QuantizeTools } from "../quantize/quantize.ts";
import type { BenchStage, RateStage } from "../records/bench.ts";
import type { BudgetSearch } from "../records/budget-search.ts";
import type { ServingRecord } from "../records/comparison.ts";
import type { SloTerm } from "../records/slo.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";

export type WeightDtype = "auto" | "bfloat16" | "float16" | "float32";

/** A form of the model that the flow makes and measures. */
export interface SchemeCandidate {
  /** As the user wrote it: `w4a8-g32`. */
  readonly name: string;
  readonly scheme: SchemeName;
  /** Null for the largest that fits. */
  readonly groupSize: number | null;
}

/** A form of the model that a budget found. */
export interface MadeCandidate {
  readonly name: string;
  readonly search: BudgetSearch;
  /** Folder that `millrace quantize` wrote. */
  readonly madePath: string;
}

export type Candidate = SchemeCandidate | MadeCandidate;

/** The load that each variant gets in each round. */
export interface LoadPlan {
  readonly concurrencies: readonly number[];
  /** Requests sent together, one level each. */
  readonly atOnce: readonly number[];
  /** Requests per second, one level each. */
  readonly rates: readonly number[];
  /** So many rates more, evenly from what one user reaches to what all at once reach; 0 for none. */
  readonly sweep: number;
  readonly requestsPerSeat: number;
  readonly minSeconds: number;
  /** How long an answer, or its next part, may take; 0 for as long as it likes. */
  readonly requestTimeoutMs: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
}

export interface FlowPlan extends TaskChoice {
  /** sha256 of each file that the tasks read. */
  readonly taskFiles: Readonly<Record<string, string>>;
  readonly modelPath: string;
  /** For people: the model's name. */
  readonly modelName: string;
  /** Beside the model itself, which everything is compared with. */
  readonly candidates: readonly Candidate[];
  /** What the base's weights become; candidates run as stored. */
  readonly dtype: WeightDtype;
  /** Engines that serve each of them, by the words of `--engine`. */
  readonly engines: readonly string[];
  readonly load: LoadPlan;
  /** How often every variant is started, loaded and stopped. */
  readonly numRounds: number;
  /** Bounds that a load has to keep. */
  readonly slo: readonly SloTerm[];
  /** What an hour of the machine costs; null where nobody said. */
  readonly pricePerHour: number | null;
  /** The least share of the base's quality that a recommended candidate keeps. */
  readonly minRecovery: number;
  readonly outPath: string;
  /** Backend, instruction set and threads: results of other kernels are not kept. */
  readonly kernels: string;
}

/** A form of the model while the flow runs. */
export interface Side {
  /** What stands in tables and sentences. */
  readonly name: string;
  /** Name of the model in the API and in records of evaluations. */
  readonly modelName: string;
  readonly path: string;
  readonly dtype: WeightDtype;
  /** Where what is measured of it is kept. */
  readonly folder: string;
  readonly vocabSize: number;
}

/** A form of the model as one engine serves it. */
export interface ServedSide extends Side {
  /** In the words of `--engine`. */
  readonly engine: string;
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
  readonly createLauncher: (side: ServedSide) => EndpointLauncher;
  readonly progress: Progress;
  readonly signal: AbortSignal;
  /** Hears of every level as soon as it was measured or found. */
  readonly onStage?: (side: ServedSide, stage: BenchStage | RateStage) => void;
  /** Hears of every round of a variant, measured or found. */
  readonly onServing?: (side: ServedSide, serving: ServingRecord) => void;
}
