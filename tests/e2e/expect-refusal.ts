import { existsSync, readdirSync } from "node:fs";
import { expect } from "vitest";
import type { ErrorCode } from "../../src/base/error-catalogue.ts";
import { runCli } from "./run-cli.ts";

export interface Refusal {
  readonly args: readonly string[];
  readonly code: ErrorCode;
  readonly exitCode: number;
  /** What the message has to name: the value seen, what is allowed and what to do. */
  readonly says: readonly string[];
}

/** Runs a command that cannot work: one line that helps, its exit code, and no file in `folder` more than before. */
export async function expectRefusal(folder: string, { args, code, exitCode, says }: Refusal): Promise<void> {
  const before = filesIn(folder);
  const run = await runCli(...args);
  expect(run.stderr).not.toMatch(/^\s+at .+:\d+:\d+\)?$/m);
  expect(run.stderr).not.toContain("fault of Millrace");
  const line = run.stderr.trimEnd().split("\n").at(-1)!;
  expect(line).toMatch(/^millrace: \S.*\. ?\S.*\[\w+\]$/);
  expect(line.endsWith(` [${code}]`), line).toBe(true);
  for (const part of says) expect(line.toLowerCase()).toContain(part.toLowerCase());
  expect(run).toMatchObject({ exitCode, stdout: "" });
  expect(filesIn(folder)).toEqual(before);
}

function filesIn(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder, { recursive: true, encoding: "utf8" }).sort() : [];
}
