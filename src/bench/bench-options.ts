import type { Progress } from "../base/progress.ts";
import type { Endpoint } from "../client/endpoint.ts";
import type { GoodputTarget } from "./figures/goodput.ts";
import type { SyntheticData } from "./workload/data-spec.ts";
import type { FileItem } from "./workload/file-workload.ts";
import type { PromptSource } from "./workload/synthetic-workload.ts";
import type { RequestLengths } from "./workload/trace-lengths.ts";

/** What a load test of one server is given, whatever its loads. */
export interface BenchOptions {
  readonly endpoint: Endpoint;
  /** Further servers of the same model; all share every load in turn. */
  readonly moreEndpoints?: readonly Endpoint[];
  /** Null takes the first model that the server lists. */
  readonly model: string | null;
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** Lengths and forms of synthetic prompts, in place of the two above. */
  readonly synthetic?: SyntheticData | undefined;
  /** Prompts of a file, in place of synthetic ones; `outputTokens` null lets the model end. */
  readonly file?: {
    readonly name: string;
    readonly items: readonly FileItem[];
    readonly outputTokens: number | null;
  };
  /** Lengths of a trace's requests in order, for synthetic prompts. */
  readonly lengths?: readonly RequestLengths[] | undefined;
  /** Sends messages to chat completions. */
  readonly chat?: boolean;
  readonly numWarmup: number;
  readonly seed: number;
  /** Whether what is sent finds caches cold, for the record; `primed` after a warm-up that fills them. */
  readonly caches?: "cold" | "primed";
  /** Makes prompts unlike those of an earlier run with the same seed, so that a prefix cache is cold; null repeats them. */
  readonly salt?: number | null;
  /**
   * Vocabulary size for token-id prompts. Null: ids of common words where the server has `/tokenize`, else text whose
   * number of words is calibrated on the warm-up.
   */
  readonly vocabSize: number | null;
  /**
   * What prompts are made of where that was chosen before: words, whose number is calibrated on the warm-up, or what another
   * session found, as it is.
   */
  readonly prompts?: PromptSource | "words" | undefined;
  /** Has the server count tokens in every event. */
  readonly continuousUsage?: boolean;
  readonly extraBody?: Readonly<Record<string, unknown>>;
  /** How long an answer, or its next part, may take; 0 for as long as it likes. */
  readonly timeoutMs?: number;
  /** How long to wait for a server that is not ready yet; without, it has to be. */
  readonly readyTimeoutMs?: number;
  /** Threads that send. */
  readonly numThreads?: number;
  /** What a request has to meet to count as goodput. */
  readonly targets?: readonly GoodputTarget[];
  /** Cuts every stage off after so many seconds; null or none waits for every answer. */
  readonly maxSeconds?: number | null;
  readonly progress: Progress;
  readonly signal?: AbortSignal | undefined;
}
