import {
  createFakeClient,
  type FakeEngineClient,
  type FakeScript,
} from "../src/protocol/fake-engine-client.ts";
import type { ServedModel } from "../src/server/served-model.ts";
import { ScoreMemory } from "../src/text/score-memory.ts";
import { createByteTokenizer } from "./byte-tokenizer.ts";

/** A served model over the scripted engine, and the engine to look into. */
export interface ServedFake {
  readonly model: ServedModel;
  readonly client: FakeEngineClient;
}

export function createServedFake(script: FakeScript = {}, more: Partial<ServedModel> = {}): ServedFake {
  const client = createFakeClient(script);
  const tokenizer = createByteTokenizer();
  const model = {
    id: "fake",
    client,
    promptScorer: new ScoreMemory(client),
    tokenizer,
    grammars: null,
    created: 1_700_000_000,
    generationDefaults: {},
    ...more,
  };
  return { model, client };
}

/** A script that always answers this text. */
export function replying(text: string): FakeScript {
  return { reply: () => [...new TextEncoder().encode(text)] };
}

/** The JSON of every `data:` line but the last, which must be `[DONE]`. */
export function readEvents(text: string): unknown[] {
  const lines = text.split("\n\n").filter((line) => line !== "");
  if (lines.at(-1) !== "data: [DONE]")
    throw new Error(`The stream ends with ${JSON.stringify(lines.at(-1))}.`);
  return lines.slice(0, -1).map((line) => JSON.parse(line.replace(/^data: /, "")) as unknown);
}
