import type { GenerateRequest, ScoreRequest } from "../protocol/engine-client.ts";

/** What waits in the engine's inbox until the next step. */
export type EngineCommand =
  | {
      readonly kind: "generate";
      readonly handle: number;
      readonly request: GenerateRequest;
      readonly arrivalMs: number;
    }
  | {
      readonly kind: "score";
      readonly handle: number;
      readonly request: ScoreRequest;
      readonly arrivalMs: number;
    }
  | { readonly kind: "abort"; readonly handle: number }
  | { readonly kind: "reset"; readonly handle: number };
