import { MillraceError } from "../base/errors.ts";

/** Bytes that a server's engine allocates when it starts. */
export interface MemoryPlan {
  readonly weights: number;
  readonly kvCache: number;
  readonly activations: number;
}

/** Resident bytes of a server's processes. */
export interface ProcessMemory {
  readonly nowBytes: number;
  /** Highest since its start. */
  readonly peakBytes: number;
}

/** What became of a server that could not be measured. */
export type LaunchFault =
  /** Its program is not on this machine. */
  | "not installed"
  /** The system does not run its program: it may not be executed, or a limit is reached. */
  | "cannot be started"
  /** It says that it cannot read this model. */
  | "cannot read the model"
  /** Its process ended by itself. */
  | "ended by itself"
  /** It runs and was not ready in time. */
  | "slow to start"
  /** Nobody listens there. */
  | "unreachable"
  /** It is there and turns us away: a key is missing, or the path is not known. */
  | "refusing"
  /** Its certificate is not trusted, or it does not speak TLS. */
  | "TLS";

/** A server that could not be measured, told as what it was. */
export class LaunchError extends MillraceError {
  override readonly name = "LaunchError";
  readonly fault: LaunchFault;

  constructor(fault: LaunchFault, message: string, details: { readonly cause?: unknown } = {}) {
    super("endpoint_failed", message, details);
    this.fault = fault;
  }
}

/** Where a launched server answers. */
export interface LaunchedEndpoint {
  /** Base URL, up to and without `/v1`. */
  readonly url: string;
  /** Bearer token of every request; undefined where none is needed. */
  readonly apiKey: string | undefined;
  /** Null where the process is not ours. */
  readonly pid: number | null;
}

/** A server that the flow starts, measures and stops: ours, or any OpenAI-compatible one. */
export interface EndpointLauncher {
  /** For the report: name and version of what is launched. */
  version(): Promise<string>;
  /** For the report: what it was started with. */
  readonly flags: string;
  /** Whether prompts may be token ids of the model's vocabulary. */
  readonly takesTokenIds: boolean;
  /** Whether it computes with the kernels of this build; those of other engines are not known. */
  readonly hasOurKernels: boolean;
  /** Tells one build of its program from another; null where nobody knows what runs, so that no figure of it is kept. */
  programId(): Promise<string | null>;
  /** Starts it and resolves with where it answers as soon as the process runs. */
  start(): Promise<LaunchedEndpoint>;
  /** Resolves with the milliseconds from start until it answered ready; null of what runs already. Throws `LaunchError`. */
  ready(): Promise<number | null>;
  /** Of the running processes; null where unknown. */
  processMemory(): ProcessMemory | null;
  /** What its engine allocated at start; null where it does not tell. */
  memoryPlan(): Promise<MemoryPlan | null>;
  /** Tokens that its KV cache holds; null where it does not tell. */
  kvCacheTokens(): Promise<number | null>;
  /** Resolves when its process is gone, with why and its last words; null before the start, and where it has no process. */
  readonly ended: Promise<Error> | null;
  /** Stops it and resolves when the process is gone. */
  stop(): Promise<void>;
}
