import { withAdapter } from "../../protocol/adapter-client.ts";
import { ScoreMemory } from "../../text/score-memory.ts";
import type { ServedModel } from "../served-model.ts";

/** An adapter of a model as the server offers it: a model of its own name that shares the other's engine. */
export function adapterModel(base: ServedModel, name: string): ServedModel {
  const client = withAdapter(base.client, name);
  const created = Math.floor(Date.now() / 1000);
  // Scores that are remembered are of the model with this adapter.
  const promptScorer = new ScoreMemory(client);
  return { ...base, id: name, aliases: [], client, promptScorer, created, parent: base.id };
}
