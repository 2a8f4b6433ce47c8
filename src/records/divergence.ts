/** How far model B's distributions are from model A's on the same tokens. Intervals are 95 %. */
export interface DivergenceFigures {
  /** Predicted tokens. */
  readonly numTokens: number;
  /** What was taken as independent for the standard errors. */
  readonly errorsOver: "windows" | "tokens";
  /** KL(A‖B) of a token, in nats. */
  readonly kl: {
    readonly mean: number;
    readonly standardError: number | null;
    readonly p50: number;
    readonly p95: number;
    readonly p99: number;
    readonly max: number;
  };
  /** Share of tokens whose most likely token is the same for both. */
  readonly topAgreement: { readonly mean: number; readonly standardError: number | null };
  readonly perplexity: {
    readonly a: number;
    readonly b: number;
    /** B / A, from the differences of the same tokens. */
    readonly ratio: number;
    readonly ratioLow: number | null;
    readonly ratioHigh: number | null;
  };
}
