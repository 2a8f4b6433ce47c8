import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, readSync, statSync } from "node:fs";
import { createServer } from "node:net";
import path from "node:path";
import type { Endpoint } from "../../client/endpoint.ts";
import { limitTime } from "../../client/time-limit.ts";
import {
  type EndpointLauncher,
  LaunchError,
  type LaunchedEndpoint,
  type MemoryPlan,
  type ProcessMemory,
} from "../../protocol/endpoint-launcher.ts";
import { endGroup, guardGroup, signalGroup } from "./process-group.ts";
import { memoryOfTree } from "./process-memory.ts";
import { readServerFacts } from "./server-facts.ts";
import { waitUntilReady } from "./wait-until-ready.ts";

/** How an engine is started as a process of its own. */
export interface EngineCommand {
  /** For reports and messages: `llama.cpp`. */
  readonly name: string;
  readonly program: string;
  /** Tells one build of its files from another. */
  readonly programId: string;
  /** Whether it is a package of an interpreter, which stays what it is when the package changes: its version tells them apart. */
  readonly isPackage?: boolean;
  /** Arguments for a port on loopback. */
  readonly args: (port: number) => readonly string[];
  /** What the report shows of it: the arguments that decide figures. */
  readonly flags: string;
  readonly takesTokenIds: boolean;
  readonly hasOurKernels: boolean;
  /** Null where it has no command for it. */
  readonly versionArgs: readonly string[] | null;
  /** What to do where the program is not there; a sentence without its full stop. */
  readonly whereItIs: string;
  readonly environment: NodeJS.ProcessEnv;
}

export interface LaunchOptions {
  readonly readyTimeoutMs: number;
  /** Bearer token of what a flow asks of a server. */
  readonly apiKey?: string | undefined;
  /** Ends the waiting. */
  readonly signal: AbortSignal;
}

/** The load is over or given up by then, so there is nothing to drain. */
const stopTimeoutMs = 10_000;
/** An engine in Python reads a GiB of libraries before it says its version; a program that knows no such flag may never end. */
const versionTimeoutMs = 60_000;
/** More is no version. */
const maxVersionText = 65_536;
const shownLogLines = 8;
/** More than so many lines take. */
const maxTailBytes = 4096;

/** Starts a server as a process of its own, so that its memory is its own and is gone when it stops. */
export class EngineProcess implements EndpointLauncher {
  readonly #command: EngineCommand;
  readonly #options: LaunchOptions;
  readonly #logFile: string;
  #child: ChildProcess | null = null;
  #ended: Promise<LaunchError> | null = null;
  #endpoint: Endpoint = { url: "" };
  #startedMs = 0;
  #giveUpGuard: () => void = () => {};
  #version: Promise<string> | null = null;

  /** @param logFile takes what the server writes, from each start on; its folder is made where it is not there */
  constructor(command: EngineCommand, logFile: string, options: LaunchOptions) {
    this.#command = command;
    this.#logFile = logFile;
    this.#options = options;
  }

  get flags(): string {
    return this.#command.flags;
  }

  get takesTokenIds(): boolean {
    return this.#command.takesTokenIds;
  }

  get hasOurKernels(): boolean {
    return this.#command.hasOurKernels;
  }

  async programId(): Promise<string> {
    const { programId, isPackage = false } = this.#command;
    return isPackage ? `${programId}\n${await this.version()}` : programId;
  }

  /** Asked once: an interpreter takes its time to say it. */
  version(): Promise<string> {
    this.#version ??= this.#askVersion();
    return this.#version;
  }

  async #askVersion(): Promise<string> {
    const { name, program, versionArgs, environment } = this.#command;
    if (versionArgs === null) return `${name} (${program})`;
    const text = await outputOf(program, versionArgs, { environment, signal: this.#options.signal });
    const line = text.split("\n").find((each) => /\d/.test(each)) ?? "of unknown version";
    const told = line.trim().replace(/^version:\s*/, "");
    return told.toLowerCase().startsWith(name) ? told : `${name} ${told}`;
  }

  async start(): Promise<LaunchedEndpoint> {
    const { program, args, environment } = this.#command;
    const port = await freePort();
    const url = `http://127.0.0.1:${port}`;
    const { apiKey } = this.#options;
    this.#endpoint = { url, apiKey };
    this.#startedMs = performance.now();
    mkdirSync(path.dirname(this.#logFile), { recursive: true });
    const log = openSync(this.#logFile, "w");
    // A group of its own, so that what the server started is stopped with it.
    const child = spawn(program, args(port), {
      stdio: ["ignore", log, log],
      env: environment,
      detached: true,
    });
    closeSync(log);
    this.#child = child;
    this.#ended = new Promise((resolve) => {
      child.once("error", (error) => resolve(this.#noStart(error)));
      child.once("exit", () => resolve(this.#endOf(child)));
    });
    if (child.pid !== undefined) this.#giveUpGuard = guardGroup(child.pid);
    return { url, apiKey, pid: child.pid ?? null };
  }

  async ready(): Promise<number> {
    const { readyTimeoutMs: timeoutMs, signal } = this.#options;
    const { name } = this.#command;
    const server = { ended: this.#ended, logFile: this.#logFile, isStarting: true };
    await waitUntilReady({ endpoint: this.#endpoint, name, timeoutMs, signal, ...server });
    return performance.now() - this.#startedMs;
  }

  processMemory(): ProcessMemory | null {
    const pid = this.#child?.pid;
    return pid === undefined ? null : memoryOfTree(pid);
  }

  async memoryPlan(): Promise<MemoryPlan | null> {
    return (await readServerFacts(this.#endpoint, this.#options.signal)).memoryPlan;
  }

  async kvCacheTokens(): Promise<number | null> {
    return (await readServerFacts(this.#endpoint, this.#options.signal)).kvCacheTokens;
  }

  get ended(): Promise<LaunchError> | null {
    return this.#ended;
  }

  async stop(): Promise<void> {
    const child = this.#child;
    if (child?.pid !== undefined) await endProcess(child, child.pid);
    this.#giveUpGuard();
    this.#child = null;
  }

  #noStart({ code, message }: NodeJS.ErrnoException): LaunchError {
    const { name, program, whereItIs } = this.#command;
    if (code === "ENOENT") {
      const text = `${name} needs the program ${program}, which is not there. ${whereItIs}.`;
      return new LaunchError("not installed", text);
    }
    const why =
      code === "EACCES"
        ? `${program} is not a file that this user may execute (EACCES). Allow it with chmod +x, or name another program.`
        : `${message}. Look at the limits of this machine for processes, open files and memory, and run again.`;
    return new LaunchError("cannot be started", `${name} cannot be started: ${why}`);
  }

  #endOf(child: ChildProcess): LaunchError {
    const how = child.signalCode ?? `exit code ${child.exitCode}`;
    const tail = lastLinesOf(this.#logFile);
    // The first line stands alone in the progress, so it has to be whole.
    const text =
      tail.length === 0
        ? ` and wrote nothing to its log, ${this.#logFile}.`
        : `; its log is ${this.#logFile}.\nThe last lines of it:\n  ${tail.join("\n  ")}`;
    return new LaunchError("ended by itself", `${this.#command.name} ended by itself (${how})${text}`);
  }
}

/** Ends the leader of a group, and then all that it started: what outlives it would take memory and cores from the next server. */
async function endProcess(child: ChildProcess, pid: number): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) {
    const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    signalGroup(pid, "SIGTERM");
    const hard = setTimeout(() => signalGroup(pid, "SIGKILL"), stopTimeoutMs);
    await gone;
    clearTimeout(hard);
  }
  await endGroup(pid);
}

/** None where the file has nothing but white space. */
function lastLinesOf(file: string): string[] {
  const { size } = statSync(file);
  const tail = Buffer.alloc(Math.min(size, maxTailBytes));
  const descriptor = openSync(file, "r");
  try {
    readSync(descriptor, tail, 0, tail.length, size - tail.length);
  } finally {
    closeSync(descriptor);
  }
  const text = tail.toString("utf8").trimEnd();
  return text === "" ? [] : text.split("\n").slice(-shownLogLines);
}

/** A port that nobody listens on now. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", resolve);
  });
  const { port } = server.address() as { readonly port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/**
 * What a program says on both of its streams; empty where it cannot be run, or does not end in time. Throws the signal's
 * reason.
 */
async function outputOf(
  program: string,
  args: readonly string[],
  { environment, signal }: { readonly environment: NodeJS.ProcessEnv; readonly signal: AbortSignal },
): Promise<string> {
  const child = spawn(program, args, {
    stdio: ["ignore", "pipe", "pipe"],
    env: environment,
    detached: true,
  });
  const limit = limitTime(versionTimeoutMs, signal);
  const kill = (): void => {
    if (child.pid !== undefined) signalGroup(child.pid, "SIGKILL");
  };
  if (limit.signal.aborted) kill();
  else limit.signal.addEventListener("abort", kill);
  let text = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (part: string) => {
      if (text.length < maxVersionText) text += part;
    });
  }
  await new Promise<void>((resolve) => {
    child.once("error", () => resolve());
    child.once("close", () => resolve());
  });
  limit.release();
  signal.throwIfAborted();
  return limit.signal.aborted ? "" : text;
}
