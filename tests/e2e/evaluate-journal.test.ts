import { existsSync, readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
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

/** Scores token ids by their sum; keeps every prompt that it answered, in order. Refuses all after `numAnswers`. */
async function startCountingServer(
  numAnswers = Infinity,
): Promise<{ server: Server; url: string; answered: string[] }> {
  const answered: string[] = [];
  const server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on("data", (part: Buffer) => parts.push(part));
    request.on("end", () => {
      if (request.url === "/v1/models") return response.end(JSON.stringify({ data: [{ id: "counting" }] }));
      if (answered.length >= numAnswers) {
        response.statusCode = 400;
        return response.end(JSON.stringify({ error: { message: "out of order" } }));
      }
      const { prompt } = JSON.parse(Buffer.concat(parts).toString()) as { prompt: number[] };
      const scores = prompt.map((id, i) => (i === 0 ? null : -((id * 31 + i) % 97) / 7));
      const logprobs = {
        token_logprobs: [...scores, -1],
        top_logprobs: [...scores.map((score) => score && { best: score + (score % 2) }), { x: -1 }],
      };
      answered.push(JSON.stringify(prompt));
      return setTimeout(() => response.end(JSON.stringify({ choices: [{ logprobs }] })), 5);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { server, answered, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

test("a killed evaluation of a server asks again only for what had no answer, and its figures are the same", async () => {
  const { server, url, answered } = await startCountingServer();
  const journal = path.join(makeFolder(), "journal.jsonl");
  const remote = [...tasks, "--url", url];
  const numKept = (): number =>
    existsSync(journal) ? readFileSync(journal, "utf8").split("\n").length - 1 : 0;
  const killed = startCli(...remote, "--journal", journal);
  while (numKept() < 60) await wait(5);
  killed.kill();
  await killed.end;
  const kept = numKept();
  expect(kept).toBeLessThan(700);
  // The first request of a run asks whether the server can score.
  const before = new Set(answered.splice(0).slice(1));
  const resumed = await runCli(...remote, "--journal", journal);
  expect(resumed.exitCode, resumed.stderr).toBe(0);
  const after = answered.splice(0).slice(1);
  expect(new Set(after).size).toBe(after.length);
  // What was on its way at the kill had no place in the journal yet.
  expect(after.filter((prompt) => before.has(prompt)).length).toBe(before.size - kept);
  const plain = await runCli(...remote);
  expect(resumed.stdout).toBe(plain.stdout);
  expect(new Set([...before, ...after])).toEqual(new Set(answered.slice(1)));
  server.close();
});

test("an evaluation whose server fails keeps every answer that it had", async () => {
  const failing = await startCountingServer(61);
  const journal = path.join(makeFolder(), "journal.jsonl");
  const failed = await runCli(...tasks, "--url", failing.url, "--journal", journal);
  failing.server.close();
  expect(failed).toMatchObject({ exitCode: 3, stdout: "" });
  expect(failed.stderr).toMatch(/out of order.*\[endpoint_failed\]\n$/);
  // The first answer was to the question whether the server can score.
  const kept = readFileSync(journal, "utf8").trimEnd().split("\n");
  expect(kept).toHaveLength(60);
});
