import { Command } from "commander";
import { formatBytes } from "../../base/units.ts";
import { removeCached } from "../../hub/cached-models.ts";
import { hubSettings } from "../resolve-model.ts";
import { printLine } from "../terminal.ts";
import { hubNotes, requireModelId } from "./pull.ts";

export function rmCommand(): Command {
  return new Command("rm")
    .summary("remove a model from the cache")
    .description("remove a model from the cache, with all its revisions")
    .argument("<model>", "a hub id: ORG/NAME")
    .addHelpText("after", hubNotes)
    .action(runRm);
}

function runRm(given: string): void {
  const id = requireModelId(given);
  printLine(`Removed ${id.repo}: ${formatBytes(removeCached(hubSettings(), id))}`);
}
