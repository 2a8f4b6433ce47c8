import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { pebble } from "../../../tests/e2e/run-cli.ts";
import { silentProgress } from "../../base/progress.ts";
import type { Checkpoint } from "../../formats/checkpoint.ts";
import { openCheckpoint } from "../../formats/open-checkpoint.ts";
import { parseBudget } from "./budget.ts";
import type { BudgetPlan, BudgetTools } from "./budget-plan.ts";
import { listCandidates } from "./ladder.ts";
import { CandidateMeter } from "./measure-candidate.ts";

let folder = "";
let checkpoint: Checkpoint;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), "millrace-candidate-"));
  checkpoint = openCheckpoint(pebble);
});
afterEach(() => {
  checkpoint.close();
  rmSync(folder, { recursive: true });
});

test("figures of an earlier plan are gone once a candidate is made anew, even if it is never measured", async () => {
  const plan: BudgetPlan = {
    modelPath: pebble,
    modelName: "pebble",
    budget: parseBudget("kl<=1"),
    dtype: "auto",
    tokenizer: null,
    ignore: [],
    maxMemoryBytes: null,
    windows: [Int32Array.of(1, 2)],
    text: { file: "text.txt", sha256: "" },
    format: "compressed-tensors",
    isMixed: false,
    tasks: null,
    taskFiles: {},
    outPath: path.join(folder, "out"),
    searchPath: folder,
    kernels: "reference",
  };
  const stopped = new Error("stopped while it was measured");
  const tools = {
    openModel: openCheckpoint,
    openLogits: () => {
      throw stopped;
    },
    calibration: null,
    progress: silentProgress,
    signal: new AbortController().signal,
  } as unknown as BudgetTools;
  const meter = new CandidateMeter(plan, tools, checkpoint);
  const [candidate] = listCandidates(checkpoint, {
    dtype: "auto",
    tokenizer: null,
    ignore: [],
    isCalibrated: false,
    format: "compressed-tensors",
  });
  const figures = path.join(folder, candidate!.name, "figures.json");
  mkdirSync(path.dirname(figures), { recursive: true });
  writeFileSync(figures, JSON.stringify({ fingerprint: "of another plan", figures: {} }));
  await expect(meter.measure(candidate!)).rejects.toBe(stopped);
  expect(existsSync(meter.modelPath(candidate!))).toBe(true);
  expect(existsSync(figures)).toBe(false);
});
