import type { Command } from "commander";
import { z } from "zod";
import { MillraceError } from "../../base/errors.ts";
import { type Component, field } from "../../config/component.ts";
import { type ModelId, parseModelId } from "../../hub/model-id.ts";
import { defaultRevision } from "../../hub/repo-id.ts";
import { type CommandHelp, createCommand } from "../create-command.ts";
import { download, hubSettings } from "../hub-model.ts";
import { addSettings, readSettings } from "../settings.ts";
import { printLine } from "../terminal.ts";

const own = {
  revision: field("--revision <name>", z.string().optional(), "branch, tag or commit (default: main)"),
} satisfies Component;

/** Variables of the environment, as in Python's huggingface_hub. */
export const hubNotes = "Environment: HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE=1, HF_HUB_CACHE, HF_HOME";

const help: CommandHelp = {
  summary: "Download a model from a hub into the cache",
  details: `
Tells licence and size, downloads what is missing and checks every file against the hub's digest. A download that broke
off goes on where it ended. The cache is the one of Python's huggingface_hub; every command that takes a model takes such
an id and downloads it when it is not there.`,
  examples: [
    "millrace pull ORG/NAME",
    "millrace pull ORG/NAME --revision v1.1",
    "millrace pull ORG/NAME:Q4_K_M            one of several GGUF files",
  ],
  notes: hubNotes,
};

export function pullCommand(): Command {
  const command = createCommand("pull", help).argument(
    "<model>",
    "a hub id: ORG/NAME, with @REVISION or :GGUF where needed",
  );
  return addSettings(command, own).action(runPull);
}

async function runPull(given: string, _options: unknown, command: Command): Promise<void> {
  const { revision } = readSettings(command, own);
  const id = requireModelId(given);
  if (revision !== undefined && id.revision !== defaultRevision && id.revision !== revision) {
    throw new MillraceError(
      "invalid_option",
      `${given} names revision ${id.revision} and --revision is ${revision}; a model has one. Leave one of them out.`,
      { param: "--revision" },
    );
  }
  printLine(await download(hubSettings(), revision === undefined ? id : { ...id, revision }));
}

/** Throws `invalid_option` for what is no hub id. */
export function requireModelId(given: string): ModelId {
  const id = parseModelId(given);
  if (id !== null) return id;
  throw new MillraceError(
    "invalid_option",
    `${JSON.stringify(given)} is no hub id. It is ORG/NAME, with @REVISION and :PART_OF_A_GGUF_NAME behind it where needed, and no web address. Correct it.`,
  );
}
