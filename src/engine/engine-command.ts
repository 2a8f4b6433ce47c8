import { sharedNow } from "../base/clock.ts";
import type { GenerateRequest, ScoreRequest } from "../protocol/engine-client.ts";
import type { AdapterTable } from "./adapters/adapter-table.ts";

/** When a request came: what it says of itself, or now. */
export function arrivalOf({ scheduling }: GenerateRequest | ScoreRequest): number {
  return scheduling?.arrivalMs ?? sharedNow();
}

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
  | { readonly kind: "reset"; readonly handle: number }
  | AdapterCommand;

/** Changes which adapters are loaded, and tells whoever asked. */
export interface AdapterCommand {
  readonly kind: "adapters";
  readonly handle: number;
  readonly change: (table: AdapterTable) => void;
  readonly refuse: (error: Error) => void;
}

/** Gives back what a command holds that is not taken. */
export function dropCommand(command: EngineCommand, error: Error): void {
  if (command.kind === "generate") command.request.mask?.port.close();
  else if (command.kind === "adapters") command.refuse(error);
}
