import { existsSync } from "node:fs";
import path from "node:path";
import type { Command } from "commander";
import { z } from "zod";
import { MillraceError } from "../../base/errors.ts";
import { formatBytes } from "../../base/units.ts";
import { type Component, field } from "../../config/component.ts";
import { precisionSettings } from "../../config/engine-settings.ts";
import { writeSafetensors } from "../../formats/safetensors-writer.ts";
import { createOps } from "../../kernels/create-ops.ts";
import { computeLogits } from "../../model/forward-once.ts";
import { loadModel } from "../../model/load-model.ts";
import { type CommandHelp, createCommand } from "../create-command.ts";
import { addModelArgument } from "../model-argument.ts";
import { openModel } from "../model-source.ts";
import { checkOutputFolder } from "../output-folder.ts";
import { readText } from "../read-text.ts";
import { addSettings, readSettings } from "../settings.ts";
import { printLine, printNote } from "../terminal.ts";

const own = {
  tokens: field(
    "--tokens <file>",
    z.string({ error: "it takes a JSON file with a flat array of token ids" }),
    "JSON file: a flat array of token ids",
  ),
  out: field(
    "--out <file>",
    z.string({ error: "it takes the safetensors file to write" }),
    "safetensors file to make, with folders that it lacks",
  ),
} satisfies Component;

const help: CommandHelp = {
  summary: "Write the logits of a token sequence, to compare engines",
  details: `
Writes one float32 tensor "logits" of shape [tokens, vocabulary]; row i holds the scores of the token after the i-th.
No tokenizer is needed. --dtype float32 --activations f32 computes them exactly.`,
  examples: [
    'echo "[504, 3575, 282]" > ids.json',
    "millrace logits ./model --tokens ids.json --out logits.safetensors",
  ],
};

export function logitsCommand(): Command {
  const command = addModelArgument(createCommand("logits", help));
  addSettings(command, own);
  addSettings(command, precisionSettings, "Precision and kernels:");
  return command.action(runLogits);
}

function runLogits(modelPath: string, _options: unknown, command: Command): void {
  const { tokens, out } = readSettings(command, own);
  const settings = readSettings(command, precisionSettings);
  if (existsSync(out)) {
    throw new MillraceError("output_exists", `${out} is already there. Choose another --out or remove it.`, {
      param: "--out",
    });
  }
  checkOutputFolder(path.dirname(out));
  const checkpoint = openModel(modelPath);
  const tokenIds = readTokenIds(tokens, checkpoint.config.vocabSize);
  const maxModelLen = checkpoint.config.maxPositionEmbeddings;
  if (tokenIds.length > maxModelLen) {
    throw new MillraceError(
      "context_length_exceeded",
      `${tokens} has ${tokenIds.length} tokens; this model's maximum context length is ${maxModelLen} tokens. Give fewer.`,
    );
  }
  const { ops, notes } = createOps({
    numThreads: settings.threads,
    backend: settings.backend,
    isa: settings.isa,
    attentionDtype: settings.attentionDtype,
  });
  try {
    const loaded = loadModel(ops, checkpoint, {
      dtype: settings.dtype,
      activations: settings.activations,
      maxModelLen: tokenIds.length,
    });
    for (const note of [...notes, ...loaded.notes]) printNote(note);
    const kvDtype = loaded.activations === "f32" ? "f32" : "f16";
    const vocabSize = loaded.model.vocabSize;
    const logits = new Float32Array(tokenIds.length * vocabSize);
    computeLogits({ model: loaded.model, ops, tokenIds, kvDtype }, (firstRow, rows) => {
      logits.set(rows, firstRow * vocabSize);
    });
    writeSafetensors(out, [
      {
        name: "logits",
        dtype: "F32",
        shape: [tokenIds.length, vocabSize],
        data: new Uint8Array(logits.buffer),
      },
    ]);
    printLine(
      `${out}  logits, F32, ${tokenIds.length} tokens × ${vocabSize} of the vocabulary, ${formatBytes(logits.byteLength)}`,
    );
  } finally {
    ops.close();
    checkpoint.close();
  }
}

function readTokenIds(file: string, vocabSize: number): Int32Array {
  const fault = (problem: string): MillraceError =>
    new MillraceError(
      "invalid_data_file",
      `${file} ${problem}. It takes a flat JSON array of at least one token id from 0 to ${vocabSize - 1}, such as [504, 3575].`,
      { param: "--tokens" },
    );
  let parsed: unknown;
  try {
    parsed = JSON.parse(readText(file));
  } catch (error) {
    if (error instanceof SyntaxError) throw fault(`is not JSON (${error.message})`);
    throw error;
  }
  if (!Array.isArray(parsed) || parsed.length === 0) throw fault("is not an array with entries");
  const bad = parsed.findIndex((id) => !Number.isInteger(id) || id < 0 || id >= vocabSize);
  if (bad !== -1) throw fault(`has ${JSON.stringify(parsed[bad])} at index ${bad}`);
  return Int32Array.from(parsed as number[]);
}
