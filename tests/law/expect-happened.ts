import { expect } from "vitest";
import { lawRequests } from "./law-requests.ts";
import type { LawModel, LawSetting } from "./law-settings.ts";
import { type SettingRun, warmedTokens } from "./run-setting.ts";

/** Fails unless what a setting is about took place in the run, by the engine's own figures. */
export function expectHappened(model: LawModel, setting: LawSetting, run: SettingRun): void {
  expect(run.kvDtype).toBe(setting.kvDtype);
  expect(run.attentionDtype).toBe(setting.attentionDtype);
  if (setting.isa !== "auto") expect(run.isa).toBe(setting.isa);
  expect(run.numThreads).toBe(setting.threads);
  expect(run.stats.numAborted, "strangers left").toBeGreaterThan(0);
  expectBatches(setting, run);
  expectChunks(setting, run);
  expectPreemption(setting, run);
  expectHits(model, setting, run);
  expectGuesses(setting, run);
}

/** Where memory is scarce it holds a few sequences; a step of 64 tokens starts no more prompts than it has room for. */
function expectBatches({ batch, chunk, memory }: LawSetting, { maxRunning }: SettingRun): void {
  const isFull = batch < 64 ? memory === "roomy" || batch === 2 : memory === "roomy" && chunk !== 64;
  if (isFull) expect(maxRunning, "sequences at a time").toBe(batch);
  else expect(maxRunning, "sequences at a time").toBeGreaterThan(memory === "roomy" ? 16 : 4);
}

function expectChunks({ chunk, prefix, memory }: LawSetting, { answers }: SettingRun): void {
  const traces = answers.map(({ trace }) => trace);
  const largest = chunk === 0 ? Infinity : chunk;
  for (const { numChunks, numChunkTokens } of traces)
    expect(numChunkTokens).toBeLessThanOrEqual(numChunks * largest);
  if (chunk === 0 && memory === "roomy") expect(Math.max(...traces.map((t) => t.numChunks))).toBe(1);
  // What a warm cache leaves of a prompt is short.
  if (chunk > 0 && chunk < (prefix === "warm" ? 1 : prefix === "partial" ? 16 : Infinity))
    expect(Math.max(...traces.map((t) => t.numChunks)), "chunks of a prompt").toBeGreaterThan(1);
}

function expectPreemption({ memory }: LawSetting, { stats, answers, maxSwapped }: SettingRun): void {
  const numPreempted = answers.filter(({ trace }) => trace.numPreemptions > 0).length;
  if (memory === "roomy") {
    expect(stats.numPreemptions).toBe(0);
    return;
  }
  expect(numPreempted, "preempted requests").toBeGreaterThan(0);
  if (memory === "swap") {
    expect(stats.numSwappedBlocks, "blocks swapped").toBeGreaterThan(0);
    expect(maxSwapped, "sequences in the host tier").toBeGreaterThan(0);
  } else {
    expect(stats.numRecomputedTokens, "tokens recomputed").toBeGreaterThan(0);
    expect(stats.numSwappedBlocks + maxSwapped).toBe(0);
  }
}

/** Where nothing is evicted, a hit reaches as far as the known text, to the token. */
function expectHits(model: LawModel, { prefix, memory, batch }: LawSetting, run: SettingRun): void {
  const { answers, stats } = run;
  const cached = answers.map(({ numCachedTokens }) => numCachedTokens);
  if (prefix === "off") {
    expect(stats.prefixCacheHits).toBe(0);
    expect(Math.max(...cached)).toBe(0);
    return;
  }
  expect(Math.max(...cached), "prompt tokens from the cache").toBeGreaterThan(0);
  if (memory !== "roomy" || prefix === "cold") return;
  for (const [index, { promptTokenIds }] of lawRequests(1000, model.maxTokens).entries()) {
    // The last token of a prompt is always computed.
    const most = promptTokenIds.length - 1;
    const known = prefix === "warm" ? most : Math.min(most, warmedTokens(most + 1));
    // Among the beginnings of more texts than are searched, one that does not fill a block may be passed over.
    if (known < run.blockSize && batch === 64) continue;
    if (prefix === "warm") expect(cached[index], `request ${index}`).toBe(known);
    else expect(cached[index], `request ${index}`).toBeGreaterThanOrEqual(known);
  }
}

function expectGuesses({ speculation, chunk }: LawSetting, { stats }: SettingRun): void {
  if (speculation === "off") expect(stats.numDraftTokens).toBe(0);
  // Steps of one token per sequence have no room for guesses.
  else if (chunk !== 1) expect(stats.numAcceptedTokens, "right guesses").toBeGreaterThan(0);
}
