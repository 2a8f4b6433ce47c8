/** How the scripted server answers; see the head of simulator.mjs. */
export interface Script {
  readonly numTokens?: number;
  readonly tokensPerEvent?: readonly number[];
  readonly ttftMs?: number;
  readonly itlMs?: number;
  readonly stall?: { readonly afterEvents: number; readonly ms: number };
  readonly stallAll?: { readonly requests: number; readonly ms: number };
  readonly text?: string;
  readonly splitWrites?: boolean;
  readonly eventsPerWrite?: number;
  readonly usage?: "final" | "continuous" | "only" | "none";
  readonly errorAfter?: number;
  readonly status?: number;
  readonly retryAfter?: number;
  readonly message?: string;
  readonly hang?: boolean;
  readonly cutAfter?: number;
  readonly chat?: boolean;
}

/** What the server did for one request; milliseconds of the system's monotonic clock. */
export interface LogEntry {
  readonly number: number;
  readonly requestId: string | null;
  readonly receivedMs: number;
  readonly promptTokens: number;
  readonly outputTokens: number;
  /** Of every event with tokens. */
  readonly sentMs: readonly number[];
  readonly tokens: readonly number[];
  readonly endMs: number | null;
}

export interface Simulator {
  readonly url: string;
  readonly pid: number;
  log(): Promise<LogEntry[]>;
  stop(): Promise<void>;
}

export function startSimulator(options: {
  readonly scripts: readonly Script[];
  readonly readyAfterMs?: number;
}): Promise<Simulator>;
