import type { ChatMessage, Prompt } from "../request-body.ts";
import { createFileWorkload, type FileSpec } from "./file-workload.ts";
import { createSyntheticWorkload, type SyntheticSpec } from "./synthetic-workload.ts";

/** One request of a conversation; most conversations have one. */
export interface Turn {
  /** Of a later turn: the messages that follow the answer before. */
  readonly prompt: Prompt;
  /** Null where the model is to end by itself. */
  readonly outputTokens: number | null;
}

/** What a load test sends, told by plain values, so that it can be made anew in another thread. */
export type WorkloadSpec = SyntheticSpec | FileSpec;

/** The conversations of a load test. */
export interface Workload {
  readonly spec: WorkloadSpec;
  /** In words, for the record. */
  readonly description: string;
  readonly promptForm: "token-ids" | "text" | "chat";
  /** Means; 0 where the file does not say. */
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** Words of a text prompt of mean length; null for token ids and files. */
  readonly numWords: number | null;
  /** Whether prompts share beginnings on purpose. */
  readonly sharesPrefixes: boolean;
  /** Turns of conversation `index`; the first may be any prompt, later ones are messages of a chat. */
  conversation(index: number): readonly Turn[];
}

export function createWorkload(spec: WorkloadSpec): Workload {
  return spec.kind === "synthetic" ? createSyntheticWorkload(spec) : createFileWorkload(spec);
}

/** The prompt of a turn behind what was said before; `history` is empty for the first. */
export function promptOf(turn: Turn, history: readonly ChatMessage[]): Prompt {
  return history.length === 0 ? turn.prompt : [...history, ...(turn.prompt as readonly ChatMessage[])];
}
