import type { Command } from "commander";
import { z } from "zod";
import { isMillraceError, type MillraceError } from "../../base/errors.ts";
import { formatBytes, formatCount } from "../../base/units.ts";
import { type Component, field } from "../../config/component.ts";
import type { Checkpoint, TensorInfo } from "../../formats/checkpoint.ts";
import { planModel } from "../../model/plan-model.ts";
import { findArchitectureFault } from "../../model/registry.ts";
import { type CommandHelp, createCommand } from "../create-command.ts";
import { openModel } from "../model-source.ts";
import { addModelArgument } from "../resolve-model.ts";
import { addSettings, readSettings } from "../settings.ts";
import { formatTable, printLine } from "../terminal.ts";

const own = {
  tensors: field("--tensors", z.boolean().default(false), "list every tensor"),
  json: field("--json", z.boolean().default(false), "print everything as one JSON object"),
} satisfies Component;

const help: CommandHelp = {
  summary: "Say what a model file holds",
  details: `
Reads headers only; no weight is loaded. A model that cannot be run here is shown as far as it can be read, and refused
with exit code 2.`,
  examples: [
    "millrace inspect ./model",
    "millrace inspect model.gguf --tensors",
    "millrace inspect model.gguf --json | jq .config",
  ],
};

export function inspectCommand(): Command {
  const command = addModelArgument(createCommand("inspect", help));
  return addSettings(command, own).action(runInspect);
}

function runInspect(modelPath: string, _options: unknown, command: Command): void {
  const { tensors, json } = readSettings(command, own);
  const { checkpoint, fault } = openAny(modelPath);
  try {
    if (json) {
      const canRun = fault === undefined;
      printLine(
        JSON.stringify({ ...describe(checkpoint), canRun, refusal: fault?.message ?? null }, null, 2),
      );
    } else printSummary(checkpoint, tensors);
    if (fault !== undefined) throw fault;
  } finally {
    checkpoint.close();
  }
}

/**
 * Opens a model of any architecture, with the error that running it would give. Where even its configuration is of
 * another kind, that error is thrown.
 */
function openAny(modelPath: string): { checkpoint: Checkpoint; fault: MillraceError | undefined } {
  let fault: MillraceError | undefined;
  const note = (architecture: string, file: string): void => {
    fault ??= findArchitectureFault(architecture, file);
  };
  try {
    return { checkpoint: openModel(modelPath, note), fault };
  } catch (error) {
    throw fault ?? error;
  }
}

function describe(checkpoint: Checkpoint): Record<string, unknown> {
  const { json: _json, ...config } = checkpoint.config;
  const tokenizer = checkpoint.tokenizer();
  return {
    path: checkpoint.path,
    format: checkpoint.format,
    weightFormat: checkpoint.weightFormat,
    sizeBytes: checkpoint.sizeBytes,
    config,
    weightBytesInMemory: weightBytesInMemory(checkpoint),
    kvBytesPerToken: kvBytesPerToken(checkpoint),
    hasTokenizer: tokenizer !== null,
    hasChatTemplate: tokenizer?.chatTemplate != null,
    tensors: checkpoint.tensors,
  };
}

/** In the forms in which they run; null for a model that cannot be run, or whose forms its headers do not tell. */
function weightBytesInMemory(checkpoint: Checkpoint): number | null {
  try {
    return planModel(checkpoint, { dtype: "auto", activations: "auto" }).ops.weightBytes;
  } catch (error) {
    if (isMillraceError(error)) return null;
    throw error;
  }
}

/** K and V of one token over all layers in f16. */
function kvBytesPerToken(checkpoint: Checkpoint): number {
  const { numLayers, numKvHeads, headDim } = checkpoint.config;
  return 2 * numLayers * numKvHeads * headDim * 2;
}

function printSummary(checkpoint: Checkpoint, withTensors: boolean): void {
  const { config } = checkpoint;
  const tokenizer = checkpoint.tokenizer();
  const inMemory = weightBytesInMemory(checkpoint);
  const facts: [string, string][] = [
    ["model", checkpoint.path],
    ["format", `${checkpoint.format}, ${checkpoint.weightFormat}`],
    ["architecture", `${config.architecture} (${config.modelType})`],
    ["weights on disk", formatBytes(checkpoint.sizeBytes)],
    ["weights in memory", inMemory === null ? "not known" : formatBytes(inMemory)],
    ["layers", `${config.numLayers} × hidden ${config.hiddenSize}, MLP ${config.intermediateSize}`],
    ["heads", `${config.numHeads} query, ${config.numKvHeads} KV, width ${config.headDim}`],
    ["vocabulary", `${formatCount(config.vocabSize)}${config.tieWordEmbeddings ? ", head tied" : ""}`],
    ["context", `${formatCount(config.maxPositionEmbeddings)} tokens`],
    ["KV cache", `${formatBytes(kvBytesPerToken(checkpoint))} per token in f16`],
    [
      "tokenizer",
      tokenizer === null ? "none" : `yes, chat template ${tokenizer.chatTemplate === null ? "no" : "yes"}`,
    ],
  ];
  const width = Math.max(...facts.map(([label]) => label.length));
  for (const [label, value] of facts) printLine(`${label.padEnd(width)}  ${value}`);
  printLine("");
  printLine(formatTable(["type", "tensors", "size"], sizesByType(checkpoint.tensors)));
  if (!withTensors) return;
  printLine("");
  const rows = checkpoint.tensors.map((tensor) => [
    tensor.name,
    tensor.dtype,
    `[${tensor.shape.join(", ")}]`,
    formatBytes(tensor.sizeBytes),
  ]);
  printLine(formatTable(["tensor", "type", "shape", "size"], rows));
}

function sizesByType(tensors: readonly TensorInfo[]): string[][] {
  const groups = new Map<string, { count: number; bytes: number }>();
  for (const tensor of tensors) {
    const group = groups.get(tensor.dtype) ?? { count: 0, bytes: 0 };
    group.count += 1;
    group.bytes += tensor.sizeBytes;
    groups.set(tensor.dtype, group);
  }
  return [...groups]
    .sort((a, b) => b[1].bytes - a[1].bytes)
    .map(([dtype, { count, bytes }]) => [dtype, String(count), formatBytes(bytes)]);
}
