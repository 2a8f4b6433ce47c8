import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { Journal, remember } from "./journal.ts";
import type { LanguageModel, ModelRequest, ModelResponse } from "./model-request.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), "millrace-journal-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Answers with the number of the request. */
class CountingModel implements LanguageModel {
  readonly renderChat = null;
  readonly maxLength = 9;
  numSent = 0;

  prepare(): ReturnType<LanguageModel["prepare"]> {
    const send = (): Promise<ModelResponse> => {
      this.numSent += 1;
      return Promise.resolve({ logLikelihood: -this.numSent / 3, isGreedy: false });
    };
    return { size: 1, send };
  }
}

const ask = (continuation: string): ModelRequest => ({ kind: "loglikelihood", context: "c", continuation });
const file = (): string => path.join(folder, "deep", "journal.jsonl");

it("asks nothing twice, in this run or the next, and gives the same numbers", async () => {
  const first = new CountingModel();
  const model = remember(first, new Journal(file()), "m");
  const answers = [
    await model.prepare(ask("a")).send(undefined),
    await model.prepare(ask("b")).send(undefined),
  ];
  expect(await model.prepare(ask("a")).send(undefined)).toEqual(answers[0]);
  const second = new CountingModel();
  const again = remember(second, new Journal(file()), "m");
  expect(await again.prepare(ask("b")).send(undefined)).toEqual(answers[1]);
  expect([first.numSent, second.numSent]).toEqual([2, 0]);
});

it("keeps models of another identity and draws of another seed apart", async () => {
  const model = new CountingModel();
  const journal = new Journal(file());
  await remember(model, journal, "m").prepare(ask("a")).send(undefined);
  await remember(model, journal, "n").prepare(ask("a")).send(undefined);
  const drawn = (seed: number): ModelRequest => ({
    kind: "generation",
    prompt: "p",
    limits: { until: [], maxNewTokens: 1, temperature: 1, topP: 1, seed },
  });
  for (const seed of [1, 2, 1]) await remember(model, journal, "m").prepare(drawn(seed)).send(undefined);
  expect([journal.size, model.numSent]).toEqual([4, 4]);
});

it("refuses a file that is no journal, and leaves every byte of it", async () => {
  const model = remember(new CountingModel(), new Journal(file()), "m");
  await model.prepare(ask("a")).send(undefined);
  const line = readFileSync(file(), "utf8");
  const others: [text: string, at: number][] = [
    ["# Notes of a year\n", 1],
    ["one line without an end", 1],
    [`${line}{"key":"k","response":{}}\n${line}`, 2],
    [`${line}${line}not ours`, 3],
  ];
  for (const [text, at] of others) {
    writeFileSync(file(), text);
    const place = expect.stringContaining(`journal.jsonl:${at} is no answer`) as string;
    expect(() => new Journal(file())).toThrow(
      expect.objectContaining({ code: "invalid_data_file", message: place }),
    );
    expect(readFileSync(file(), "utf8")).toBe(text);
  }
});

it("refuses a place that takes no file before anything is asked", () => {
  mkdirSync(file(), { recursive: true });
  expect(() => new Journal(file())).toThrow(expect.objectContaining({ code: "output_unwritable" }));
});

it("takes off a line that was cut, and goes on behind the last whole one", async () => {
  const model = remember(new CountingModel(), new Journal(file()), "m");
  await model.prepare(ask("a")).send(undefined);
  await model.prepare(ask("b")).send(undefined);
  const text = readFileSync(file(), "utf8");
  for (let cut = 1; cut < text.length; cut += 7) {
    writeFileSync(file(), text.slice(0, -cut));
    const journal = new Journal(file());
    const numWhole = text.slice(0, -cut).split("\n").length - 1;
    expect(journal.size).toBe(numWhole);
    journal.add("k", { text: "t", isCut: false });
    expect(new Journal(file()).size).toBe(numWhole + 1);
  }
});
