import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import path from "node:path";
import type { ServerProcess } from "../records/load-figures.ts";

/** Clock ticks a second in /proc: 100 on every Linux that Node runs on. */
const ticksPerSecond = 100;
const loopbackNames = new Set(["localhost", "127.0.0.1", "[::1]"]);
/** State of a listening socket in /proc/net/tcp. */
const listening = "0A";

/** The process on this machine that listens at a URL; null where none can be seen. Linux only. */
export function findServerProcess(url: string): number | null {
  const { hostname, port, protocol } = new URL(url);
  if (!loopbackNames.has(hostname) || process.platform !== "linux") return null;
  const inodes = inodesAt(Number(port) || (protocol === "https:" ? 443 : 80));
  if (inodes.size === 0) return null;
  return pidsOf().find((pid) => socketsOf(pid).some((inode) => inodes.has(inode))) ?? null;
}

/**
 * CPU and memory of a process and of all that descend from it, from now to `end`. Linux only. What it starts meanwhile is
 * seen at the end: looking through all processes takes a millisecond or two, which answers that come in between would have
 * in their times.
 */
export class ProcessWatch {
  readonly #pid: number;
  #tree: readonly number[];
  readonly #startedMs = performance.now();
  readonly #ticksBefore: number;
  #peakBytes = 0;

  constructor(pid: number) {
    this.#pid = pid;
    this.#tree = treeOf(pid);
    this.#ticksBefore = this.#ticks();
    this.sample();
  }

  /** Looks at the memory; between two looks a peak is not seen. */
  sample(): void {
    const bytes = this.#tree.reduce((sum, pid) => sum + residentBytesOf(pid), 0);
    this.#peakBytes = Math.max(this.#peakBytes, bytes);
  }

  /** Null where the process is gone. */
  end(): ServerProcess | null {
    this.#tree = treeOf(this.#pid);
    this.sample();
    const seconds = (performance.now() - this.#startedMs) / 1000;
    const cores = (this.#ticks() - this.#ticksBefore) / ticksPerSecond / seconds;
    if (statOf(this.#pid) === null) return null;
    return { pid: this.#pid, peakBytes: this.#peakBytes, cores: Math.max(0, cores) };
  }

  /** User and system time, its own and that of children that ended. */
  #ticks(): number {
    return this.#tree
      .flatMap((pid) => statOf(pid)?.slice(11, 15) ?? [])
      .reduce((sum, ticks) => sum + Number(ticks), 0);
  }
}

/** Inodes of the sockets that listen at a port. */
function inodesAt(port: number): Set<string> {
  const wanted = port.toString(16).toUpperCase().padStart(4, "0");
  const lines = ["tcp", "tcp6"].flatMap((table) => (readText(`/proc/net/${table}`) ?? "").split("\n"));
  return new Set(
    lines.flatMap((line) => {
      const fields = line.trim().split(/\s+/);
      return fields[3] === listening && fields[1]!.endsWith(`:${wanted}`) ? [fields[9]!] : [];
    }),
  );
}

function pidsOf(): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

function socketsOf(pid: number): string[] {
  const folder = `/proc/${pid}/fd`;
  try {
    return readdirSync(folder).flatMap(
      (fd) => /^socket:\[(\d+)\]$/.exec(linkOf(path.join(folder, fd)))?.[1] ?? [],
    );
  } catch {
    // Another user's process, or one that just ended.
    return [];
  }
}

function linkOf(file: string): string {
  try {
    return readlinkSync(file);
  } catch {
    return "";
  }
}

function treeOf(root: number): number[] {
  const parents = pidsOf().map((pid) => [pid, Number(statOf(pid)?.[1])] as const);
  const tree = [root];
  for (const pid of tree)
    tree.push(...parents.filter(([, parent]) => parent === pid).map(([child]) => child));
  return tree;
}

/** Fields of /proc/PID/stat behind the name, from the state on; null of a process that is gone. */
function statOf(pid: number): string[] | null {
  return readText(`/proc/${pid}/stat`)?.split(") ").at(-1)!.split(" ") ?? null;
}

function residentBytesOf(pid: number): number {
  return 1024 * Number(/^VmRSS:\s+(\d+)/m.exec(readText(`/proc/${pid}/status`) ?? "")?.[1] ?? 0);
}

function readText(file: string): string | null {
  try {
    return readFileSync(file, "utf8");
  } catch {
    // A process may end between two looks.
    return null;
  }
}
