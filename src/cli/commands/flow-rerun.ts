import { existsSync } from "node:fs";
import path from "node:path";
import type { Command } from "commander";
import { z } from "zod";
import { MillraceError } from "../../base/errors.ts";
import { type Component, field } from "../../config/component.ts";
import { readComparison } from "../../flow/compare/read-comparison.ts";
import { type Reproduction, reproductionOf } from "../../flow/compare/reproduce.ts";
import type { ComparisonRecord } from "../../records/comparison.ts";
import { apiKeyField } from "../api-key.ts";
import { type CommandHelp, createCommand } from "../create-command.ts";
import { flowFileName, readFlowFile, readFlowSettings } from "../flow-settings.ts";
import { addSettings, readSettings } from "../settings.ts";
import { formatTable, printLine } from "../terminal.ts";

const own = {
  out: field("--out <folder>", z.string().optional(), "folder of the second run (default: FOLDER-rerun)"),
  apiKey: apiKeyField("bearer token for servers that want one"),
} satisfies Component;

const help: CommandHelp = {
  summary: "Run a flow anew and say what came out the same",
  details: `
Does everything again that FOLDER/flow.yaml describes, keeps nothing of the first run, and sets both beside each other:
whether the same weights and the same answers came out, byte for byte, and what became of the throughput.`,
  examples: ["millrace flow rerun out/model"],
};

/** Runs a flow as its settings say and gives its comparison. */
export type RunSettings = (
  file: ReturnType<typeof readFlowFile>,
  settings: ReturnType<typeof readFlowSettings>,
  options: { readonly out: string; readonly apiKey: string | undefined },
) => Promise<ComparisonRecord>;

export function flowRerunCommand(run: RunSettings): Command {
  const command = createCommand("rerun", help).argument("<folder>", "folder of a finished flow");
  addSettings(command, own);
  return command.action(async (folder: string) => {
    const before = readComparison(folder, "Give the folder of a finished flow.");
    const { out: place, apiKey } = readSettings(command, own);
    const out = path.resolve(place ?? `${path.resolve(folder)}-rerun`);
    if (existsSync(path.join(out, "artefacts"))) {
      throw new MillraceError(
        "output_exists",
        `${out} holds a flow already, and a second run keeps nothing. Choose another --out, or remove it.`,
        { param: "--out" },
      );
    }
    const file = readFlowFile(path.join(folder, flowFileName));
    const after = await run(file, readFlowSettings(command, file), { out, apiKey });
    printLine(reproductionText(reproductionOf(before, after)));
  });
}

function reproductionText(variants: readonly Reproduction[]): string {
  const word = (isSame: boolean | null): string =>
    isSame === null ? "–" : isSame ? "the same" : "DIFFERENT";
  const rows = variants.flatMap(({ variant, weights, answers, throughput }) => {
    const speeds = throughput.map(({ level, ratio, verdict }) => [level, `${ratio.toFixed(2)} ×`, verdict]);
    return (speeds.length === 0 ? [["–", "–", "–"]] : speeds).map((speed, index) =>
      index === 0 ? [variant, word(weights), word(answers), ...speed] : ["", "", "", ...speed],
    );
  });
  return `Against the first run:\n${formatTable(["", "weights", "answers", "load", "throughput", "verdict"], rows)}`;
}
