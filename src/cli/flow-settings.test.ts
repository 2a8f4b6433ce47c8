import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { Command } from "commander";
import { expect, onTestFinished, test } from "vitest";
import { defaultText, flagName } from "../config/component.ts";
import { presets } from "../flow/presets.ts";
import {
  candidateSettings,
  choiceSettings,
  flowLoadSettings,
  readFlowFile,
  readFlowSettings,
  writeFlowFile,
} from "./flow-settings.ts";
import { addSettings } from "./settings.ts";
import { taskSettings } from "./task-choice.ts";

function parse(...args: readonly string[]): Command {
  const command = new Command();
  for (const part of [choiceSettings, candidateSettings, taskSettings, flowLoadSettings])
    addSettings(command, part);
  return command.parse(args, { from: "user" });
}

function fileOf(text: string): string {
  const folder = mkdtempSync(path.join(os.tmpdir(), "flow-settings-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const file = path.join(folder, "flow.yaml");
  writeFileSync(file, text);
  return file;
}

test("a flag beats the file, which beats the use case, which beats the preset", () => {
  const file = readFlowFile(
    fileOf("model: ./m\npreset: standard\nuse-case: rag\nconcurrency: [1, 8]\nrounds: 5\n"),
  );
  expect(path.basename(file.model!)).toBe("m");
  const { load, tasks, choice } = readFlowSettings(parse("--rounds", "3"), file);
  expect(choice).toEqual({ preset: "standard", useCase: "rag" });
  expect(load).toMatchObject({
    rounds: 3,
    concurrency: [1, 8],
    inputTokens: 2000,
    slo: "ttft_p90<=3s,tpot_p90<=100ms",
    minSeconds: 60,
  });
  expect(tasks.tasks).toEqual(["arc_easy", "hellaswag", "ifeval", "mmlu"]);
});

test("the defaults that help shows are those of the preset that is taken where none is named", () => {
  const preset: Record<string, string> = presets[choiceSettings.preset.schema.parse(undefined)];
  const shown = Object.values(flowLoadSettings).map((setting) => [
    flagName(setting.flag).slice(2),
    defaultText(setting),
  ]);
  expect(Object.fromEntries(shown)).toMatchObject(preset);
});

test("what was asked for is written so that it reads as the same", () => {
  const flags = [
    "--preset",
    "lab",
    "--schemes",
    "w8a8,w4a8-g32",
    "--engine",
    "llama.cpp=/x -t 2",
    "--tasks",
    "none",
  ];
  const settings = readFlowSettings(parse(...flags), null);
  expect(settings.load).toMatchObject({ concurrency: [], atOnce: [100], inputTokens: 200 });
  const folder = path.dirname(fileOf(""));
  writeFlowFile(folder, "/models/m", settings);
  const file = path.join(folder, "flow.yaml");
  expect(readFileSync(file, "utf8")).toMatch(
    /^# millrace flow --config flow\.yaml .+\nmodel: \/models\/m\npreset: lab\n/,
  );
  expect(readFlowSettings(parse(), readFlowFile(file))).toEqual(settings);
});

test("a file with a setting that is none, or a model that is no place, is refused", () => {
  expect(() => readFlowFile(fileOf("shemes: w8a8"))).toThrow(
    '"shemes", which is no flag here. The nearest is schemes',
  );
  for (const [line, flag] of [
    ["watch: true", "--watch"],
    ["out: x", "--out"],
    ["api_key: x", "--api-key"],
    ["config: x", "--config"],
  ]) {
    expect(() => readFlowFile(fileOf(line!))).toThrow(
      `which a file does not take. Give ${flag} on the command line instead.`,
    );
  }
  expect(() => readFlowFile(fileOf("model: [1]"))).toThrow(/model is \[1\]; it takes/);
  expect(() => readFlowFile(fileOf("- preset: quick"))).toThrow("Write lines such as preset: quick.");
});

test("a file that cannot be read is told with its cause", () => {
  expect(() => readFlowFile(fileOf("a: [b"))).toThrow(/cannot be read as YAML: .*, column 6\. Correct it/);
  const bomb = [
    "a: &a [x]",
    ..."bcdefg".split("").map((name, i) => `${name}: &${name} [${`*${"abcdef"[i]},`.repeat(9)}]`),
  ];
  expect(() => readFlowFile(fileOf(bomb.join("\n")))).toThrow(/Excessive alias count/);
  expect(() => readFlowFile("/nowhere/flow.yaml")).toThrow(/cannot be read: ENOENT: no such file/);
  expect(() => readFlowFile(os.tmpdir())).toThrow(/cannot be read: EISDIR: .* directory/);
});

test("schemes that are none are refused", () => {
  for (const none of ["", " , "]) {
    expect(() => readFlowSettings(parse("--schemes", none), null)).toThrow(
      `--schemes is ${JSON.stringify(none)}: it takes schemes, separated by commas, or bf16 for the model as it is alone.`,
    );
  }
  expect(readFlowSettings(parse("--schemes", "bf16"), null).candidates.schemes).toEqual(["bf16"]);
});

test("a list that is none says what it takes", () => {
  expect(() => readFlowSettings(parse(), readFlowFile(fileOf("concurrency: [0, -1]")))).toThrow(
    '--concurrency is "0,-1" (from flow.yaml): it takes whole numbers from 1 to 100000, separated by commas; or none.',
  );
  expect(readFlowSettings(parse("--rates", ""), null).load.rates).toEqual([]);
});
