import type { Command } from "commander";
import { formatBytes } from "../../base/units.ts";
import { removeCached } from "../../hub/cached-models.ts";
import { type CommandHelp, createCommand } from "../create-command.ts";
import { hubSettings } from "../resolve-model.ts";
import { printLine } from "../terminal.ts";
import { hubNotes, requireModelId } from "./pull.ts";

const help: CommandHelp = {
  summary: "Remove a model from the cache",
  details: "With all its revisions.",
  examples: ["millrace rm ORG/NAME"],
  notes: hubNotes,
};

export function rmCommand(): Command {
  return createCommand("rm", help).argument("<model>", "a hub id: ORG/NAME").action(runRm);
}

function runRm(given: string): void {
  const id = requireModelId(given);
  printLine(`Removed ${id.repo}: ${formatBytes(removeCached(hubSettings(), id))}`);
}
