import type { Command } from "commander";
import { formatBytes } from "../../base/units.ts";
import { removeCached } from "../../hub/cached-repos.ts";
import { isRepoName } from "../../hub/repo-id.ts";
import { type CommandHelp, createCommand } from "../create-command.ts";
import { hubSettings } from "../resolve-model.ts";
import { printLine } from "../terminal.ts";
import { hubNotes, requireModelId } from "./pull.ts";

const help: CommandHelp = {
  summary: "Remove a model or a data set from the cache",
  details: "With all its revisions.",
  examples: ["millrace rm ORG/NAME", "millrace rm datasets/ORG/NAME"],
  notes: hubNotes,
};

export function rmCommand(): Command {
  return createCommand("rm", help)
    .argument("<name>", "a hub id: ORG/NAME, or datasets/ORG/NAME")
    .action(runRm);
}

function runRm(given: string): void {
  const repo = /^datasets\/(.+)$/.exec(given)?.[1] ?? "";
  const id = isRepoName(repo) ? ({ type: "dataset", repo } as const) : requireModelId(given);
  printLine(`Removed ${given}: ${formatBytes(removeCached(hubSettings(), id))}`);
}
