import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { MillraceError } from "../base/errors.ts";
import { packagePath } from "../base/package-folder.ts";
import { version } from "../base/version.ts";
import type { EndpointLauncher, MemoryPlan, ProcessMemory } from "../protocol/endpoint-launcher.ts";

/** Line of `millrace serve` that names its address; the launcher waits for it. */
export const listeningLine = "Listening on";

const startTimeoutMs = 30_000;
/** The load is over or given up by then, so there is nothing to drain. */
const stopTimeoutMs = 10_000;
const readyTimeoutMs = 600_000;
const pollMs = 25;
const maxLogLines = 40;

/** What is set for other things than the flags of `serve`. */
const kept: readonly string[] = ["MILLRACE_ISA"];

/** The line with the address must come, and the client here has no key: what a person set for servers stays out. */
function ownEnvironment(): NodeJS.ProcessEnv {
  const entries = Object.entries(process.env).filter(
    ([name]) => !name.startsWith("MILLRACE_") || kept.includes(name),
  );
  return Object.fromEntries(entries);
}

/** Starts `millrace serve` as a process of its own, so that its memory is its own and is gone when it stops. */
export class ServerLauncher implements EndpointLauncher {
  readonly #args: readonly string[];
  #child: ChildProcess | null = null;
  #url = "";
  #startedMs = 0;
  readonly #log: string[] = [];

  readonly #signal: AbortSignal;
  /** A second Ctrl-C ends this process at once; the server must not outlive it. */
  readonly #endWithParent = (): void => void this.#child?.kill("SIGKILL");

  /** `args`: what follows `millrace serve`; the port is added. An abort ends the waiting. */
  constructor(args: readonly string[], signal: AbortSignal) {
    this.#args = args;
    this.#signal = signal;
  }

  version(): Promise<string> {
    return Promise.resolve(`millrace ${version}`);
  }

  async start(): Promise<{ readonly url: string; readonly pid: number }> {
    const main = packagePath("dist/cli/main.js");
    this.#startedMs = performance.now();
    const child = spawn(process.execPath, [main, "serve", ...this.#args, "--port", "0"], {
      stdio: ["ignore", "ignore", "pipe"],
      env: ownEnvironment(),
    });
    this.#child = child;
    process.once("exit", this.#endWithParent);
    this.#url = await this.#waitForAddress(child);
    return { url: this.#url, pid: child.pid! };
  }

  async ready(): Promise<number> {
    while (performance.now() - this.#startedMs < readyTimeoutMs) {
      this.#signal.throwIfAborted();
      const failure = this.failure();
      if (failure !== null) throw failure;
      const response = await fetch(`${this.#url}/health`).catch(() => null);
      if (response?.ok === true) return performance.now() - this.#startedMs;
      await new Promise((resolve) => setTimeout(resolve, pollMs));
    }
    throw this.#failure(`was not ready after ${readyTimeoutMs / 1000} s`);
  }

  /** From Linux's VmRSS and VmHWM; null elsewhere, and when the process is gone. */
  processMemory(): ProcessMemory | null {
    const pid = this.#child?.pid;
    if (process.platform !== "linux" || pid === undefined) return null;
    try {
      const status = readFileSync(`/proc/${pid}/status`, "utf8");
      const bytes = (name: string): number | null => {
        const kib = new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(status)?.[1];
        return kib === undefined ? null : Number(kib) * 1024;
      };
      const [nowBytes, peakBytes] = [bytes("VmRSS"), bytes("VmHWM")];
      return nowBytes === null || peakBytes === null ? null : { nowBytes, peakBytes };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
      return null;
    }
  }

  /** From the gauge `millrace:memory_bytes` of `GET /metrics`. */
  async memoryPlan(): Promise<MemoryPlan | null> {
    const response = await fetch(`${this.#url}/metrics`);
    if (!response.ok) return null;
    const text = await response.text();
    const part = (name: string): number | null => {
      const line = new RegExp(`^millrace:memory_bytes\\{.*part="${name}".*\\} (\\S+)$`, "m").exec(text);
      return line === null ? null : Number(line[1]);
    };
    const [weights, kvCache, activations] = [part("weights"), part("kv_cache"), part("activations")];
    if (weights == null || kvCache == null || activations == null) return null;
    return { weights, kvCache, activations };
  }

  failure(): MillraceError | null {
    const child = this.#child;
    if (child !== null && child.exitCode === null && child.signalCode === null) return null;
    const how = child?.signalCode ?? `exit code ${child?.exitCode}`;
    return this.#failure(`ended by itself (${how})`);
  }

  async stop(): Promise<void> {
    const child = this.#child;
    process.off("exit", this.#endWithParent);
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    child.kill("SIGTERM");
    const hard = setTimeout(() => child.kill("SIGKILL"), stopTimeoutMs);
    await gone;
    clearTimeout(hard);
  }

  #waitForAddress(child: ChildProcess): Promise<string> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(this.#failure("did not listen in time")), startTimeoutMs);
      let rest = "";
      child.stderr!.setEncoding("utf8").on("data", (text: string) => {
        rest += text;
        const lines = rest.split("\n");
        rest = lines.pop()!;
        for (const line of lines) {
          this.#log.push(line);
          if (this.#log.length > maxLogLines) this.#log.shift();
          const url = new RegExp(`${listeningLine} (http://\\S+)`).exec(line)?.[1];
          if (url !== undefined) {
            clearTimeout(timer);
            resolve(url);
          }
        }
      });
      child.once("exit", () => {
        clearTimeout(timer);
        reject(this.#failure("ended before it listened"));
      });
      child.once("error", (error) => reject(this.#failure(error.message)));
    });
  }

  #failure(what: string): MillraceError {
    const tail = this.#log.slice(-8).join("\n  ");
    return new MillraceError("endpoint_failed", `The server ${what}. Look at its last lines:\n  ${tail}`);
  }
}
