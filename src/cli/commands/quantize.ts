import path from "node:path";
import type { Command } from "commander";
import { z } from "zod";
import { stoppable } from "../../base/progress.ts";
import { formatBytes, formatDuration } from "../../base/units.ts";
import { type Component, field } from "../../config/component.ts";
import { integer, oneOf } from "../../config/value-schemas.ts";
import { modelNameOf } from "../../formats/model-name.ts";
import { quantize } from "../../quantize/quantize.ts";
import { schemeNames } from "../../quantize/scheme.ts";
import { type CommandHelp, createCommand } from "../create-command.ts";
import { listenForInterrupt } from "../interrupt.ts";
import { openModel } from "../model-source.ts";
import { addModelArgument } from "../resolve-model.ts";
import { addSettings, readSettings } from "../settings.ts";
import { printLine, printNote, TerminalProgress } from "../terminal.ts";

/** Settings that say how a model is quantised; the flow takes them too. */
export const schemeSettings = {
  scheme: field(
    "--scheme <name>",
    oneOf(schemeNames).default("w8a8"),
    "bits of the weights and of what goes into them",
  ),
  groupSize: field(
    "--group-size <n>",
    integer(1).optional(),
    "columns that share a scale: 32, 64 or 128 (default: the largest that divides every linear)",
  ),
  dtype: field(
    "--dtype <type>",
    oneOf(["auto", "bfloat16", "float16", "float32"]).default("auto"),
    "round the weights to this type first; needed when the model already holds integers",
  ),
} satisfies Component;

const own = {
  out: field("--out <folder>", z.string().optional(), "folder to make (default: MODEL-SCHEME here)"),
  json: field("--json", z.boolean().default(false), "print the manifest as JSON"),
} satisfies Component;

const help: CommandHelp = {
  summary: "Make a model smaller by rounding its weights to integers",
  details: `
Writes a compressed-tensors folder that Millrace, transformers and vLLM read. Head and embedding stay bf16.
w8a8 keeps nearly everything; w4a16 halves the size again; w3a16 and w2a16 need better methods than rounding.`,
  examples: [
    "millrace quantize ./model --scheme w8a8",
    "millrace quantize ./model --scheme w4a16 --group-size 32 --out ./model-w4",
    "millrace quantize model.gguf --scheme w8a8 --dtype bfloat16",
  ],
};

export function quantizeCommand(): Command {
  const command = addModelArgument(createCommand("quantize", help));
  for (const part of [schemeSettings, own]) addSettings(command, part);
  return command.action(runQuantize);
}

async function runQuantize(modelPath: string, _options: unknown, command: Command): Promise<void> {
  const { scheme, groupSize, dtype } = readSettings(command, schemeSettings);
  const { out, json } = readSettings(command, own);
  const outPath = path.resolve(out ?? `${path.basename(modelNameOf(modelPath))}-${scheme}`);
  const checkpoint = openModel(modelPath);
  const interrupt = listenForInterrupt("Nothing was written. Run the same command again.");
  try {
    const plan = { scheme, groupSize: groupSize ?? null, dtype, outPath };
    const manifest = await quantize(checkpoint, plan, stoppable(new TerminalProgress(), interrupt.signal));
    if (json) {
      printLine(JSON.stringify(manifest, null, 2));
      return;
    }
    for (const note of manifest.notes) printNote(note);
    const errors = manifest.tensors.map((tensor) => tensor.relativeError);
    const mean = errors.reduce((sum, error) => sum + error, 0) / Math.max(1, errors.length);
    printLine(`${outPath}`);
    printLine(
      `size            ${formatBytes(manifest.source.sizeBytes)} → ${formatBytes(manifest.sizeBytes)}`,
    );
    printLine(
      `relative error  mean ${mean.toPrecision(3)}, worst ${Math.max(...errors).toPrecision(3)} over ${errors.length} linears`,
    );
    printLine(`time            ${formatDuration(manifest.origin.durationMs)}`);
  } finally {
    interrupt.release();
    checkpoint.close();
  }
}
