import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { afterAll, expect, test } from "vitest";
import { endProcesses, makeFolder, pebble, removeFolders, runCli, startCli } from "./run-cli.ts";

afterAll(() => {
  endProcesses();
  removeFolders();
});

const tasks = ["evaluate", pebble, "--tasks", "pebble", "--limit", "200"];

test("an evaluation that was killed goes on where it was, with the same figures", async () => {
  const journal = path.join(makeFolder(), "journal.jsonl");
  const keysOf = (): string[] =>
    existsSync(journal)
      ? [...readFileSync(journal, "utf8").matchAll(/"key":"(\w+)"/g)].map(([, key]) => key!)
      : [];
  const killed = startCli(...tasks, "--journal", journal);
  let isOver = false;
  const ended = killed.end.then(() => {
    isOver = true;
  });
  while (keysOf().length < 20 && !isOver) await wait(5);
  killed.kill();
  await ended;
  const numBefore = keysOf().length;
  expect(numBefore).toBeLessThan(800);
  const resumed = await runCli(...tasks, "--journal", journal);
  expect(resumed.exitCode, resumed.stderr).toBe(0);
  expect(resumed.stderr).toMatch(/journal\.jsonl holds \d+ answers/);
  const plain = await runCli(...tasks);
  expect(resumed.stdout).toBe(plain.stdout);
  // Four answers a question; equal requests of different questions have one entry.
  expect(new Set(keysOf()).size).toBe(keysOf().length);
  const again = await runCli(...tasks, "--journal", journal);
  expect(again.stdout).toBe(plain.stdout);
});
