import type { Command } from "commander";
import { z } from "zod";
import { isMillraceError, type MillraceError } from "../../base/errors.ts";
import { formatBytes, formatCount } from "../../base/units.ts";
import { type Component, field } from "../../config/component.ts";
import type { Checkpoint, TensorInfo, TokenizerSource } from "../../formats/checkpoint.ts";
import { checkLoadable, planModel } from "../../model/plan-model.ts";
import { findArchitectureFault } from "../../model/registry.ts";
import { createTokenizer } from "../../tokenizer/create-tokenizer.ts";
import { type CommandHelp, createCommand } from "../create-command.ts";
import { addModelArgument } from "../model-argument.ts";
import { openModel } from "../model-source.ts";
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
with the error and the exit code that running it would give.`,
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
  const checkpoint = openAny(modelPath);
  try {
    const found = readTokenizer(checkpoint);
    const fault = noteFault(() => checkLoadable(checkpoint)) ?? found.fault;
    if (json) {
      const described = describe(checkpoint, found.source);
      const canRun = fault === undefined;
      printLine(JSON.stringify({ ...described, canRun, refusal: fault?.message ?? null }, null, 2));
    } else printSummary(checkpoint, found, tensors);
    if (fault !== undefined) throw fault;
  } finally {
    checkpoint.close();
  }
}

/** Opens a model of any architecture; where even its configuration is of another kind, its architecture is refused. */
function openAny(modelPath: string): Checkpoint {
  let fault: MillraceError | undefined;
  const note = (architecture: string, file: string): void => {
    fault ??= findArchitectureFault(architecture, file);
  };
  try {
    return openModel(modelPath, note);
  } catch (error) {
    throw fault ?? error;
  }
}

interface FoundTokenizer {
  /** Null where there is none, or none that can be read. */
  readonly source: TokenizerSource | null;
  readonly fault: MillraceError | undefined;
}

function readTokenizer(checkpoint: Checkpoint): FoundTokenizer {
  let source: TokenizerSource | null = null;
  const fault = noteFault(() => {
    source = checkpoint.tokenizer();
    if (source !== null) createTokenizer(source);
  });
  return { source, fault };
}

/** What is wrong with the model, as the command that runs it would say. */
function noteFault(check: () => void): MillraceError | undefined {
  try {
    check();
    return undefined;
  } catch (error) {
    if (isMillraceError(error)) return error;
    throw error;
  }
}

function describe(checkpoint: Checkpoint, tokenizer: TokenizerSource | null): Record<string, unknown> {
  const { json: _json, ...config } = checkpoint.config;
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

function describeTokenizer({ source, fault }: FoundTokenizer): string {
  if (fault !== undefined) return "cannot be read";
  if (source === null) return "none";
  return `yes, chat template ${source.chatTemplate === null ? "no" : "yes"}`;
}

function printSummary(checkpoint: Checkpoint, tokenizer: FoundTokenizer, withTensors: boolean): void {
  const { config } = checkpoint;
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
    ["tokenizer", describeTokenizer(tokenizer)],
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
