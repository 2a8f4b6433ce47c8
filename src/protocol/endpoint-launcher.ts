/** Bytes that a server's engine allocates when it starts. */
export interface MemoryPlan {
  readonly weights: number;
  readonly kvCache: number;
  readonly activations: number;
}

/** Resident bytes of a process. */
export interface ProcessMemory {
  readonly nowBytes: number;
  /** Highest since its start. */
  readonly peakBytes: number;
}

/** A server that the flow starts, measures and stops: ours, or any OpenAI-compatible one. */
export interface EndpointLauncher {
  /** For the report: name and version of what is launched. */
  version(): Promise<string>;
  /** Starts it and resolves with its base URL (up to and without `/v1`) as soon as the process runs. */
  start(): Promise<{ readonly url: string; readonly pid: number }>;
  /** Resolves with the milliseconds from start until it answered ready; rejects when it died or took too long. */
  ready(): Promise<number>;
  /** Of the running process; null where unknown. */
  processMemory(): ProcessMemory | null;
  /** What its engine allocated at start; null where it does not tell. */
  memoryPlan(): Promise<MemoryPlan | null>;
  /** Why it ended by itself, with its last words; null while it runs. */
  failure(): Error | null;
  /** Stops it and resolves when the process is gone. */
  stop(): Promise<void>;
}
