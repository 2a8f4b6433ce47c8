import type { Command } from "commander";
import { z } from "zod";
import { formatBytes } from "../../base/units.ts";
import { type Component, field } from "../../config/component.ts";
import { listCached } from "../../hub/cached-repos.ts";
import { repoPath } from "../../hub/repo-id.ts";
import { type CommandHelp, createCommand } from "../create-command.ts";
import { hubSettings } from "../hub-model.ts";
import { addSettings, readSettings } from "../settings.ts";
import { formatTable, printLine, printNote } from "../terminal.ts";
import { hubNotes } from "./pull.ts";

const own = { json: field("--json", z.boolean().default(false), "print JSON") } satisfies Component;

const help: CommandHelp = {
  summary: "List the models and data sets in the cache",
  details: "With their sizes, revisions and when they were last used.",
  examples: ["millrace list", "millrace list --json"],
  notes: hubNotes,
};

export function listCommand(): Command {
  const command = createCommand("list", help);
  return addSettings(command, own).action(runList);
}

async function runList(_options: unknown, command: Command): Promise<void> {
  const { json } = readSettings(command, own);
  const { cacheDir } = hubSettings();
  const { repos, warnings } = await listCached(hubSettings());
  for (const warning of warnings) printNote(`Not read: ${warning}`);
  if (json) {
    printLine(JSON.stringify({ cacheDir, repos }, null, 2));
    return;
  }
  if (repos.length === 0) {
    printLine(`Nothing is in ${cacheDir}. \`millrace pull ORG/NAME\` brings one.`);
    return;
  }
  const rows = repos.map(({ type, repo, sizeBytes, revisions, lastUsed }) => [
    repoPath({ type, repo }),
    formatBytes(sizeBytes),
    revisions.map(({ commit, refs }) => [commit.slice(0, 12), ...refs].join(" ")).join(", "),
    lastUsed.toISOString().slice(0, 10),
  ]);
  printLine(formatTable(["repository", "size", "revisions", "last used"], rows));
}
