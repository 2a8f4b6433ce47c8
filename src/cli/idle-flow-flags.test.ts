import { expect, test } from "vitest";
import { flowCommand } from "./commands/flow.ts";

/** Refusals come before anything is made. */
const refusal = (...flags: readonly string[]): Promise<unknown> =>
  flowCommand().parseAsync([...flags], { from: "user" });

test.each([
  ["--text", ["--text", "prose.txt"]],
  ["--limit", ["--tasks", "none", "--limit", "4"]],
  ["--min-recovery", ["--tasks", "none", "--min-recovery", "0.9"]],
  ["--requests-per-seat", ["--concurrency", "none", "--at-once", "4", "--requests-per-seat", "2"]],
])("%s is refused where it has no effect", async (flag, flags) => {
  await expect(refusal(...flags)).rejects.toMatchObject({ code: "invalid_option", param: flag });
  await expect(refusal(...flags)).rejects.toThrow(`${flag} has no effect: `);
});

test("every level is given once", async () => {
  await expect(refusal("--at-once", "10,10")).rejects.toThrow("--at-once names 10 twice");
  await expect(refusal("--rates", "2,3,2")).rejects.toThrow("--rates names 2 twice");
});

test.each([
  ["command:node server.js --port {port}", "has no {model}, so it would serve something else"],
  ["command:node server.js {model}", "has no {port}, so nobody would know where it listens"],
  ["http://", '"http://" is not a URL'],
])("%s is no engine", async (engine, says) => {
  await expect(refusal("--tasks", "none", "--engine", engine)).rejects.toThrow(says);
});

test("an engine is given once", async () => {
  const twice = ["--engine", "millrace", "--engine", "millrace"];
  await expect(refusal("--tasks", "none", ...twice)).rejects.toThrow("--engine names millrace twice");
});

test("tasks are not measured through an address", async () => {
  const address = ["--schemes", "bf16", "--engine", "http://127.0.0.1:9"];
  await expect(refusal(...address)).rejects.toMatchObject({ code: "invalid_option", param: "--tasks" });
});
