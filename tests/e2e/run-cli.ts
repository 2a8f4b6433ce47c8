import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
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
  /** Sends SIGKILL. */
  readonly kill: () => void;
}

const running = new Set<ChildProcess>();

/** Variables beside those of this process. */
interface Surroundings {
  readonly env?: Readonly<Record<string, string>>;
}

function spawnCli(args: readonly string[], program: string = main, { env }: Surroundings = {}): ChildProcess {
  const child = spawn(process.execPath, [program, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...env },
  });
  running.add(child);
  child.once("exit", () => running.delete(child));
  return child;
}

/** Ends what a failed test left running. */
export function endProcesses(): void {
  for (const child of running) child.kill("SIGKILL");
}

/** A command that runs. */
export interface CliProcess {
  /** What it wrote to stderr so far. */
  readonly log: () => string;
  readonly pid: number;
  /** Sends SIGINT to it alone. */
  readonly interrupt: () => void;
  /** Sends SIGKILL. */
  readonly kill: () => void;
  /** Resolves when it wrote a line to stderr that fits, rejects when it ends without one. */
  readonly says: (line: RegExp) => Promise<void>;
  readonly end: Promise<CliRun>;
}

/** Starts the command line as a user does. */
export function startCli(...args: string[]): CliProcess;
export function startCli(surroundings: Surroundings, ...args: string[]): CliProcess;
export function startCli(first: string | Surroundings, ...args: string[]): CliProcess {
  if (typeof first === "string") return follow(spawnCli([first, ...args]));
  return follow(spawnCli(args, main, first));
}

function follow(child: ChildProcess): CliProcess {
  const stdout = collect(child.stdout!);
  const log = collect(child.stderr!);
  const end = once(child, "close").then(() => ({
    exitCode: child.exitCode,
    stdout: stdout(),
    stderr: log(),
  }));
  const says = (line: RegExp): Promise<void> =>
    new Promise((resolve, reject) => {
      const look = (): void => {
        if (line.test(log())) resolve();
      };
      look();
      child.stderr!.on("data", look);
      child.once("close", () => reject(new Error(`it never said ${line}:\n${log()}`)));
    });
  return {
    pid: child.pid!,
    log,
    says,
    interrupt: () => child.kill("SIGINT"),
    kill: () => child.kill("SIGKILL"),
    end,
  };
}

/** Runs the command line as a user does and waits for its end. */
export function runCli(...args: string[]): Promise<CliRun> {
  return startCli(...args).end;
}

/** Runs the command line of another build: the file `dist/cli/main.js` of its folder. */
export function runCliOf(program: string, ...args: string[]): Promise<CliRun> {
  return follow(spawnCli(args, program)).end;
}

/** Starts `millrace serve` and waits for the line with its address. */
export async function startServe(...args: string[]): Promise<ServeProcess> {
  const child = spawnCli(["serve", ...args]);
  const log = collect(child.stderr!);
  const url = await new Promise<string>((resolve, reject) => {
    child.stderr!.on("data", () => {
      const found = /Listening on (http:[^\s"]+)["\n]/.exec(log())?.[1];
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
  return { url, port: new URL(url).port, log, stop, kill: () => child.kill("SIGKILL") };
}

/** Waits until a server has loaded its model; the test's own time limit ends a wait in vain. */
export async function untilReady(url: string): Promise<void> {
  while ((await fetch(`${url}/health`)).status !== 200)
    await new Promise((resolve) => setTimeout(resolve, 20));
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

/** A port that nobody listened on a moment ago, for servers that are to come back under the same. */
export async function freePort(): Promise<string> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { readonly port: number };
  await new Promise((resolve) => server.close(resolve));
  return String(port);
}

/** Processes that this one started, by Linux's own list. */
export function childrenOf(pid: number): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((child) => {
      try {
        const [, after = ""] = readFileSync(`/proc/${child}/stat`, "utf8").split(") ");
        return Number(after.split(" ")[1]) === pid;
      } catch {
        // It is gone already.
        return false;
      }
    });
}
