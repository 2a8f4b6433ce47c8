import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { repositoryPath } from "../test-data.ts";

const main = repositoryPath("dist", "cli", "main.js");

/** The embedded model. */
export const pebble: string = repositoryPath("models", "pebble", "model");

export interface CliRun {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** `millrace serve` as a process of its own. */
export interface ServeProcess {
  readonly url: string;
  readonly port: string;
  /** What it wrote to stderr so far. */
  readonly log: () => string;
  /** Sends SIGTERM; resolves with the exit code. */
  readonly stop: () => Promise<number | null>;
}

const running = new Set<ChildProcess>();

function spawnCli(args: readonly string[]): ChildProcess {
  const child = spawn(process.execPath, [main, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  running.add(child);
  child.once("exit", () => running.delete(child));
  return child;
}

/** Ends what a failed test left running. */
export function endProcesses(): void {
  for (const child of running) child.kill("SIGKILL");
}

/** Runs the command line as a user does and waits for its end. */
export async function runCli(...args: string[]): Promise<CliRun> {
  const child = spawnCli(args);
  const stdout = collect(child.stdout!);
  const stderr = collect(child.stderr!);
  await once(child, "close");
  return { exitCode: child.exitCode, stdout: stdout(), stderr: stderr() };
}

/** Starts `millrace serve` and waits for the line with its address. */
export async function startServe(...args: string[]): Promise<ServeProcess> {
  const child = spawnCli(["serve", ...args]);
  const log = collect(child.stderr!);
  const url = await new Promise<string>((resolve, reject) => {
    child.stderr!.on("data", () => {
      const found = /Listening on (http:\S+)\n/.exec(log())?.[1];
      if (found !== undefined) resolve(found);
    });
    child.once("exit", () => reject(new Error(`serve ended before it listened:\n${log()}`)));
  });
  const stop = async (): Promise<number | null> => {
    const closed = once(child, "close");
    child.kill("SIGTERM");
    await closed;
    return child.exitCode;
  };
  return { url, port: new URL(url).port, log, stop };
}

function collect(stream: NodeJS.ReadableStream): () => string {
  let text = "";
  stream.setEncoding("utf8").on("data", (part: string) => {
    text += part;
  });
  return () => text;
}

const folders: string[] = [];

/** A fresh folder; `removeFolders` takes it away. */
export function makeFolder(): string {
  const folder = mkdtempSync(path.join(os.tmpdir(), "millrace-e2e-"));
  folders.push(folder);
  return folder;
}

export function removeFolders(): void {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
}
