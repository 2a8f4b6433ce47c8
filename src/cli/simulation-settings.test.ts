import { Command } from "commander";
import { expect, test } from "vitest";
import { addSettings } from "./settings.ts";
import {
  configurationSettings,
  contextOf,
  readConfigurations,
  simulationSettingsOf,
} from "./simulation-settings.ts";
import type { StepCostsFile } from "./step-costs-file.ts";

function read(flags: readonly string[], texts: readonly string[]): ReturnType<typeof readConfigurations> {
  const command = addSettings(new Command("simulate"), configurationSettings);
  command.parse(flags, { from: "user" });
  return readConfigurations(command, texts);
}

const costs: StepCostsFile = {
  kind: "step-costs",
  version: 1,
  model: "m",
  measured: "by hand",
  maxModelLen: 2048,
  blockSize: 32,
  blockBytes: 65_536,
  numKvBlocks: 100,
  costs: {
    fixedMs: 1,
    tokens: [{ above: 0, perUnitMs: 1 }],
    perSequenceMs: 0,
    context: [{ above: 0, perUnitMs: 0 }],
    perPrefillPairMs: 0,
    requestMs: 0,
  },
  meanError: 0,
  maxError: 0,
  steps: [],
};

const targets = { ttftMs: 1, tpotMs: 1, e2eMs: 1 };

test("without --config, all ways of serving stand side by side under serve's defaults", () => {
  const ladder = read([], []);
  expect(ladder.map(({ name, settings }) => [name, settings.serving])).toEqual([
    ["continuous", "continuous"],
    ["contiguous", "contiguous"],
    ["dynamic", "dynamic"],
    ["static", "static"],
  ]);
  for (const { settings } of ladder)
    expect(settings).toMatchObject({ maxNumSeqs: 128, maxNumBatchedTokens: 512, schedulingPolicy: "fcfs" });
  expect(read(["--serving", "static"], []).map(({ name }) => name)).toEqual(["static"]);
});

test("flags of the command hold for all configurations, those of one beat them", () => {
  const both = read(["--max-num-seqs", "8", "--kv-cache-memory-bytes", "1MiB"], ["a=", "b=--max-num-seqs 4"]);
  expect(both.map(({ name, settings }) => [name, settings.maxNumSeqs])).toEqual([
    ["a", 8],
    ["b", 4],
  ]);
  expect(simulationSettingsOf(both[1]!, costs, targets)).toMatchObject({ numBlocks: 16, numHostBlocks: 0 });
});

test("sizes come from the calibration where no flag gives them, and bound the context", () => {
  const [usual, small] = read([], ["usual=", "small=--num-kv-blocks 4 --swap-space 1MiB"]);
  expect(simulationSettingsOf(usual!, costs, targets).numBlocks).toBe(100);
  expect(contextOf(usual!, costs)).toBe(2048);
  expect(simulationSettingsOf(small!, costs, targets)).toMatchObject({ numBlocks: 4, numHostBlocks: 16 });
  expect(contextOf(small!, costs)).toBe(128);
});

test("where a block's bytes are not known, sizes in bytes are refused and counts are not", () => {
  const unknown = { ...costs, blockBytes: null };
  const settingsOf = (text: string): unknown => simulationSettingsOf(read([], [text])[0]!, unknown, targets);
  expect(settingsOf("a=--num-kv-blocks 4")).toMatchObject({ numBlocks: 4, numHostBlocks: 0 });
  expect(() => settingsOf("a=--kv-cache-memory-bytes 1MiB")).toThrow('--kv-cache-memory-bytes of "a"');
  expect(() => settingsOf("a=--swap-space 1MiB")).toThrow('--swap-space of "a"');
});

test("a configuration without name, with an unknown flag or a wrong value is refused by name", () => {
  const cases: [readonly string[], string][] = [
    [["--max-num-seqs 4"], 'it takes a name, "=" and flags'],
    [["=--max-num-seqs 4"], 'it takes a name, "=" and flags'],
    [["a=", "a="], 'names "a" twice'],
    [["a=--bogus 3"], "--config a: unknown option '--bogus'."],
    [["a=extra"], "--config a: too many arguments"],
    [["a=--max-num-seqs 0"], '--config a: --max-num-seqs is "0": it takes a whole number from 1 to 4096'],
  ];
  for (const [texts, message] of cases) {
    const error = { code: "invalid_option", message: expect.stringContaining(message) as string };
    expect(() => read([], texts)).toThrow(expect.objectContaining(error));
  }
  const settingsOf = (text: string): unknown => simulationSettingsOf(read([], [text])[0]!, costs, targets);
  expect(() => settingsOf("a=--max-num-seqs 64 --max-num-batched-tokens 32")).toThrow('of "a" is 32');
  expect(() => settingsOf("a=--num-kv-blocks 4 --kv-cache-memory-bytes 1MiB")).toThrow("both size");
  expect(() => settingsOf("a=--kv-cache-memory-bytes 1KiB")).toThrow("a KV block of this model takes 65,536");
  expect(() => contextOf(read([], ["a=--max-model-len 4k"])[0]!, costs)).toThrow("at most 2,048");
});
