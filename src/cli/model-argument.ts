import { existsSync } from "node:fs";
import type { Command } from "commander";
import { parseModelId } from "../hub/model-id.ts";

/** Help of an argument that `resolveModel` reads. */
export const modelHelp =
  "a model folder, a GGUF file or a hub id: ORG/NAME, with @REVISION or :GGUF where needed";

/**
 * The path of a model that is given as a path or as a hub id. What is on disk under that name comes first; then the
 * cache, in which a whole model is taken as it is; then the hub, whose licence and size are told before anything is
 * downloaded. What is neither a path nor an id is given back, for whoever opens it to refuse.
 */
export async function resolveModel(given: string): Promise<string> {
  const id = existsSync(given) ? null : parseModelId(given);
  if (id === null) return given;
  // Who names a path need not wait for what speaks to a hub.
  const { resolveHubModel } = await import("./hub-model.ts");
  return resolveHubModel(id);
}

/**
 * Adds an argument that is a model. The command's action gets the path that `resolveModel` gives; so it is with
 * --spec-model.
 */
export function addModelArgument(command: Command, name = "<model>", help = modelHelp): Command {
  const index = command.registeredArguments.length;
  return command.argument(name, help).hook("preAction", async (_program, running) => {
    const given: unknown = running.processedArgs[index];
    if (typeof given === "string") running.processedArgs[index] = await resolveModel(given);
    const draft: unknown = running.opts()["specModel"];
    if (typeof draft === "string") running.setOptionValue("specModel", await resolveModel(draft));
  });
}
