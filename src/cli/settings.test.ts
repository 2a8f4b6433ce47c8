import { Command } from "commander";
import { expect, test } from "vitest";
import { engineSettings } from "../config/engine-settings.ts";
import type { EngineOptions } from "../engine/engine-options.ts";
import { engineOptionsOf } from "./engine-options.ts";
import { addEngineSettings, readSettings } from "./settings.ts";

/** What a command line gives an engine. */
function optionsFrom(...flags: string[]): EngineOptions {
  const command = new Command().exitOverride();
  addEngineSettings(command);
  command.parse(flags, { from: "user" });
  return engineOptionsOf("model", readSettings(command, engineSettings));
}

test("a flag that is given twice is refused, with both values", () => {
  expect(() => optionsFrom("--max-num-seqs", "3", "--max-num-seqs", "4")).toThrow(
    '--max-num-seqs is given twice, as "3" and "4"; it takes one value. Leave one out.',
  );
  expect(() => optionsFrom("--seed", "3", "--seed=3")).toThrow("--seed is given twice");
  expect(optionsFrom("--max-num-seqs", "3").maxNumSeqs).toBe(3);
});

test("a flag that would have no effect beside the others is refused", () => {
  const refused: [string[], string][] = [
    [["--spec-tokens", "3"], "--spec-tokens is 3, but without --spec-method nothing is guessed"],
    [["--spec-model", "draft"], "--spec-method is not given and --spec-model is draft"],
    [
      ["--tenant-weight", "a=2"],
      "--tenant-weight is given for 1 tenants, but --scheduling-policy fcfs reads no weights",
    ],
    [
      ["--check-prefix-cache", "--enable-prefix-caching", "off"],
      "--enable-prefix-caching is off, so there is nothing",
    ],
    [
      ["--max-num-queued-reqs", "10", "--max-num-queued-reqs-per-tenant", "100"],
      "--max-num-queued-reqs-per-tenant is 100, but the whole queue holds --max-num-queued-reqs (10)",
    ],
    [
      ["--max-num-seqs", "64", "--max-num-batched-tokens", "8"],
      "--max-num-batched-tokens is 8; a step must hold",
    ],
  ];
  for (const [flags, message] of refused) expect(() => optionsFrom(...flags)).toThrow(message);
});

test("the same flags are taken where they have one", () => {
  expect(optionsFrom("--spec-method", "ngram").speculation).toEqual({ numTokens: 4, draftPath: null });
  expect(optionsFrom("--spec-method", "ngram", "--spec-tokens", "3").speculation?.numTokens).toBe(3);
  const fair = optionsFrom("--tenant-weight", "a=2", "--scheduling-policy", "fair");
  expect(fair.tenantWeights).toEqual(new Map([["a", 2]]));
  expect(optionsFrom("--max-num-queued-reqs-per-tenant", "100").maxNumQueuedRequestsPerTenant).toBe(100);
  expect(optionsFrom("--check-prefix-cache").checkPrefixCache).toBe(true);
});
