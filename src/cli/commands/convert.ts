import path from "node:path";
import type { Command } from "commander";
import { z } from "zod";
import { MillraceError } from "../../base/errors.ts";
import { stoppable } from "../../base/progress.ts";
import { formatBytes } from "../../base/units.ts";
import { type Component, field } from "../../config/component.ts";
import { bytes, integer, oneOf } from "../../config/value-schemas.ts";
import { DummyCheckpoint } from "../../convert/dummy-checkpoint.ts";
import { convertDtypes } from "../../convert/plan.ts";
import { convertToGguf } from "../../convert/to-gguf.ts";
import { convertToSafetensors } from "../../convert/to-safetensors.ts";
import type { Checkpoint } from "../../formats/checkpoint.ts";
import { loadTokenizerSource } from "../../formats/tokenizer-source.ts";
import { type CommandHelp, createCommand } from "../create-command.ts";
import { listenForInterrupt } from "../interrupt.ts";
import { addModelArgument, modelHelp } from "../model-argument.ts";
import { openModel } from "../model-source.ts";
import { addSettings, readSettings } from "../settings.ts";
import { printLine, printNote, TerminalProgress } from "../terminal.ts";

const own = {
  out: field(
    "--out <path>",
    z.string(),
    "what to make: a file whose name ends with .gguf, else a folder of safetensors",
  ),
  dtype: field(
    "--dtype <type>",
    oneOf(convertDtypes).default("auto"),
    "what weights become: auto keeps them to the bit, the others round",
  ),
  loadFormat: field(
    "--load-format <format>",
    oneOf(["auto", "dummy"]).default("auto"),
    "dummy makes the weights up from a config.json alone",
  ),
  seed: field("--seed <n>", integer(0, 2 ** 32 - 1).optional(), "of dummy weights (default: 0)"),
  tokenizer: field(
    "--tokenizer <path>",
    z.string().optional(),
    "tokenizer for a model without one: a folder, a tokenizer.json or a GGUF file",
  ),
  maxShardSize: field(
    "--max-shard-size <size>",
    bytes.optional(),
    "cut the weights into files of at most this size, such as 4GiB (default: one file)",
  ),
  json: field("--json", z.boolean().default(false), "print what was written as JSON"),
} satisfies Component;

const help: CommandHelp = {
  summary: "Write a model in another file format",
  details: `
Integers and scales are carried over unchanged between GGUF (Q8_0, Q4_0) and compressed-tensors where both hold
them; otherwise the command says so and --dtype says what they become. With --dtype q4_0 to q5_1,
embedding and head are Q8_0.
Dummy weights have the right shapes and say nothing.`,
  examples: [
    "millrace convert ./model --out model.gguf",
    "millrace convert ./model --out model-q8.gguf --dtype q8_0",
    "millrace convert model-q4_0.gguf --out ./model-w4a16",
    "millrace convert ./model --out ./sharded --max-shard-size 4GiB",
    "millrace convert config.json --load-format dummy --out dummy.gguf --dtype q4_0 --tokenizer other.gguf",
  ],
};

export function convertCommand(): Command {
  const command = addModelArgument(
    createCommand("convert", help),
    "<model>",
    `${modelHelp}; with --load-format dummy a config.json`,
  );
  return addSettings(command, own).action(runConvert);
}

async function runConvert(modelPath: string, _options: unknown, command: Command): Promise<void> {
  const { out, dtype, loadFormat, seed, tokenizer, maxShardSize, json } = readSettings(command, own);
  const outPath = path.resolve(out);
  const isGguf = outPath.toLowerCase().endsWith(".gguf");
  if (!isGguf && dtype.startsWith("q")) {
    throw new MillraceError(
      "invalid_option",
      `--dtype is ${dtype}, which only GGUF files hold. Give --out a name that ends with .gguf, or use \`millrace quantize\`.`,
      { param: "--dtype" },
    );
  }
  if (loadFormat !== "dummy") refuseDummyInput(modelPath, seed);
  const given = tokenizer === undefined ? null : loadTokenizerSource(tokenizer);
  const checkpoint: Checkpoint =
    loadFormat === "dummy" ? new DummyCheckpoint(modelPath, seed ?? 0) : openModel(modelPath);
  const interrupt = listenForInterrupt("Nothing was written. Run the same command again.");
  try {
    const plan = { outPath, dtype, tokenizer: given, maxShardBytes: maxShardSize ?? null };
    const convert = isGguf ? convertToGguf : convertToSafetensors;
    const result = await convert(checkpoint, plan, stoppable(new TerminalProgress(), interrupt.signal));
    if (json) {
      printLine(JSON.stringify(result, null, 2));
      return;
    }
    for (const note of result.notes) printNote(note);
    printLine(result.outPath);
    printLine(`weights  ${checkpoint.weightFormat} → ${result.weightFormat}`);
    printLine(`size     ${formatBytes(checkpoint.sizeBytes)} → ${formatBytes(result.sizeBytes)}`);
  } finally {
    interrupt.release();
    checkpoint.close();
  }
}

/** What only dummy weights have a use for. */
function refuseDummyInput(modelPath: string, seed: number | undefined): void {
  if (seed !== undefined) {
    throw new MillraceError(
      "invalid_option",
      `--seed is ${seed}, and no weights are made up here. Leave it out, or give --load-format dummy.`,
      { param: "--seed" },
    );
  }
  if (path.basename(modelPath) !== "config.json") return;
  throw new MillraceError(
    "invalid_option",
    `${modelPath} is a config.json without weights. Name the model's folder, or give --load-format dummy to make weights up.`,
    { param: "model" },
  );
}
