import { expect, test } from "vitest";
import { StepNumbers } from "./step-progress.ts";

function record(signal: AbortSignal = new AbortController().signal): {
  readonly lines: string[];
  readonly steps: StepNumbers;
} {
  const lines: string[] = [];
  const progress = {
    start: (label: string) => void lines.push(`start ${label}`),
    update: (done: number) => void lines.push(`update ${done}`),
    finish: (message?: string) => void lines.push(`finish ${message}`),
  };
  return { lines, steps: new StepNumbers(3, { progress, signal }) };
}

test("every line says the step and whose it is", () => {
  const { lines, steps } = record();
  const first = steps.next("compressed");
  first.progress.start("quantize w8a8", 10);
  first.progress.update(5);
  first.progress.finish();
  const second = steps.next("base");
  second.progress.start("evaluate wikitext", 4);
  second.progress.finish("wikitext: word_perplexity 9.1");
  second.keep("base/evaluation.json");
  expect(lines).toEqual([
    "start [1/3] compressed: quantize w8a8",
    "update 5",
    "finish [1/3] compressed: quantize w8a8",
    "start [2/3] base: evaluate wikitext",
    "finish [2/3] base: wikitext: word_perplexity 9.1",
    "start [2/3] base: ",
    "finish [2/3] base: kept from an earlier run: base/evaluation.json",
  ]);
});

test("a stopped flow ends at the next update, and begins no step", () => {
  const controller = new AbortController();
  const { steps } = record(controller.signal);
  const { progress } = steps.next("base");
  controller.abort(new Error("stopped"));
  expect(() => progress.update(1)).toThrow("stopped");
  expect(() => steps.next("base")).toThrow("stopped");
});

test("beside the figures stands how long the steps to come will take, once a step was measured", () => {
  const notes: (string | undefined)[] = [];
  const progress = { start() {}, update: (_: number, note?: string) => void notes.push(note), finish() {} };
  const steps = new StepNumbers(4, { progress, signal: new AbortController().signal });
  steps.next("w8a8").keep("model");
  steps.next("base").progress.update(1, "8 requests");
  steps.next("w8a8").progress.update(1, "9 requests");
  steps.next("w8a8").progress.update(1);
  expect(notes).toEqual([
    "8 requests",
    expect.stringMatching(/^9 requests, then about \d+ ms for 1 more step$/),
    undefined,
  ]);
});
