import type { Command } from "commander";
import { MillraceError } from "../../base/errors.ts";
import { formatBytes } from "../../base/units.ts";
import { removeCached } from "../../hub/cached-repos.ts";
import { isRepoName } from "../../hub/repo-id.ts";
import { type CommandHelp, createCommand } from "../create-command.ts";
import { hubSettings } from "../hub-model.ts";
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
  if (!given.endsWith(id.repo)) {
    throw new MillraceError(
      "invalid_option",
      `${given} names a part of ${id.repo}; a model is removed with all its revisions and files. Run \`millrace rm ${id.repo}\` if that is meant.`,
    );
  }
  printLine(`Removed ${given}: ${formatBytes(removeCached(hubSettings(), id))}`);
}
