import type { Command } from "commander";
import { z } from "zod";
import { MillraceError } from "../../base/errors.ts";
import { type Component, field } from "../../config/component.ts";
import { precisionSettings } from "../../config/engine-settings.ts";
import { integer, integerList } from "../../config/value-schemas.ts";
import { type ProfiledShape, profileSteps, type StepProfile } from "../../engine/profile/profile-step.ts";
import { type Ceilings, measureCeilings } from "../../kernels/ceilings.ts";
import { createOps } from "../../kernels/create-ops.ts";
import { loadModel } from "../../model/load-model.ts";
import { type CommandHelp, createCommand } from "../create-command.ts";
import { addModelArgument } from "../model-argument.ts";
import { openModel } from "../model-source.ts";
import { addSettings, readSettings } from "../settings.ts";
import { printLine, printNote } from "../terminal.ts";

const own = {
  decode: field(
    "--decode <list>",
    integerList.prefault("1,8,32"),
    "sequences of the decode steps, one token each",
  ),
  prefill: field("--prefill <list>", integerList.prefault("128,512"), "tokens of the prefill steps"),
  context: field("--context <tokens>", integer(1).default(256), "context of each sequence of a decode step"),
  repeats: field("--repeats <n>", integer(1, 1000).default(5), "steps of each shape; the fastest counts"),
  json: field("--json", z.boolean().default(false), "print JSON"),
} satisfies Component;

const help: CommandHelp = {
  summary: "Say where the time of a step goes, beside what this machine allows",
  details: `
Measures the machine first: bytes read from memory, and products of int8, int4, bf16 and f32 from registers, each per
second. The roofline of an operation is the longer of its bytes and its operations at those ceilings; weights, and K and
V, are read once. What lies in the processor's caches is read faster than memory allows, so that small models come out
above 100 %. Needs the native kernels.`,
  examples: ["millrace profile ./model --decode 1,32 --prefill 512"],
};

export function profileCommand(): Command {
  const command = addModelArgument(createCommand("profile", help));
  addSettings(command, own);
  addSettings(command, precisionSettings, "Precision and kernels:");
  return command.action(runProfile);
}

function runProfile(modelPath: string, _options: unknown, command: Command): void {
  const { decode, prefill, context, repeats, json } = readSettings(command, own);
  const settings = readSettings(command, precisionSettings);
  checkBackend(settings.backend);
  const { ops, notes } = createOps({
    numThreads: settings.threads,
    backend: "native",
    isa: settings.isa,
    attentionDtype: settings.attentionDtype,
  });
  const checkpoint = openModel(modelPath);
  try {
    for (const note of notes) printNote(note);
    const ceilings = measureCeilings(ops.isa, ops.numThreads);
    const shapes = [...decode.map((rows) => decodeShape(rows, context)), ...prefill.map(prefillShape)];
    const limit = checkpoint.config.maxPositionEmbeddings;
    checkLength("--context", context, limit);
    for (const numTokens of prefill) checkLength("--prefill", numTokens, limit);
    const maxModelLen = Math.max(context, ...prefill);
    const steps = profileSteps({
      ops,
      ceilings,
      shapes,
      numRepeats: repeats,
      load: (profiled) => {
        const loaded = loadModel(profiled, checkpoint, { ...settings, maxModelLen });
        for (const note of loaded.notes) printNote(note);
        return { model: loaded.model, kvDtype: loaded.activations === "f32" ? "f32" : "f16" };
      },
    });
    const { isa, numThreads } = ops;
    const record = { kind: "profile", version: 1, isa, numThreads, ceilings, steps };
    if (json) printLine(JSON.stringify(record, null, 2));
    else printProfile(ceilings, steps);
  } finally {
    checkpoint.close();
    ops.close();
  }
}

/** Ceilings are those of the processor, which the reference is far from. */
function checkBackend(backend: string): void {
  if (backend !== "reference") return;
  throw new MillraceError(
    "invalid_option",
    "--backend is reference; profile takes auto or native, whose kernels it sets beside the machine's ceilings.",
    { param: "--backend" },
  );
}

function checkLength(flag: string, numTokens: number, limit: number): void {
  if (numTokens <= limit) return;
  throw new MillraceError(
    "invalid_option",
    `${flag} is ${numTokens}; this model takes 1 to ${limit} positions. Give a length in that range.`,
    { param: flag },
  );
}

function decodeShape(numSequences: number, contextLength: number): ProfiledShape {
  return {
    label: `decode, ${numSequences} ${numSequences === 1 ? "row" : "rows"}`,
    numSequences,
    numTokens: 1,
    contextLength,
  };
}

function prefillShape(numTokens: number): ProfiledShape {
  return { label: `prefill, ${numTokens} tokens`, numSequences: 1, numTokens, contextLength: numTokens };
}

function printProfile(ceilings: Ceilings, steps: readonly StepProfile[]): void {
  const giga = (value: number): string => (value / 1e9).toFixed(0);
  printLine(
    `At most: ${(ceilings.readBytes / 1e9).toFixed(1)} GB/s read, ${giga(ceilings.int8Operations)} GOP/s int8, ` +
      `${giga(ceilings.int4Operations)} GOP/s int4, ${giga(ceilings.bf16Operations)} GFLOP/s bf16, ` +
      `${giga(ceilings.f32Operations)} GFLOP/s f32`,
  );
  for (const step of steps) {
    const { label, seconds, rooflineSeconds, numOperations } = step;
    printLine("");
    printLine(
      `${label}, context ${step.contextLength}: ${ms(seconds)} ms, ${share(rooflineSeconds, seconds)} % of the roofline ` +
        `(${ms(rooflineSeconds)} ms), ${numOperations} operations`,
    );
    if (step.kinds.some((kind) => kind.rooflineSeconds > kind.seconds)) {
      printLine("  Above 100 %: read from the processor's caches, which memory's ceiling does not bound.");
    }
    printLine(
      `${"".padEnd(20)}${["count", "ms", "% of step", "GB/s", "GOP/s", "% of roofline"].map((h) => h.padStart(14)).join("")}`,
    );
    for (const kind of step.kinds) {
      const cells = [
        kind.count === 0 ? "" : String(kind.count),
        ms(kind.seconds),
        share(kind.seconds, seconds),
        kind.bytes === 0 ? "" : (kind.bytes / kind.seconds / 1e9).toFixed(1),
        kind.operations === 0 ? "" : giga(kind.operations / kind.seconds),
        kind.rooflineSeconds === 0 ? "" : share(kind.rooflineSeconds, kind.seconds),
      ];
      printLine(`${kind.kind.padEnd(20)}${cells.map((cell) => cell.padStart(14)).join("")}`);
    }
  }
}

const ms = (seconds: number): string => (seconds * 1000).toFixed(3);
const share = (part: number, whole: number): string => ((100 * part) / whole).toFixed(0);
