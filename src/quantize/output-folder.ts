import {
  appendFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import { MillraceError } from "../base/errors.ts";
import { formatBytes } from "../base/units.ts";
import { asWriteFaults, makeFolder, syncFolder, unwritable } from "../base/write-file.ts";

const marker = ".millrace-partial";
/** Holds the id of the process that writes. */
const lock = ".millrace-lock";

/** A folder that gets its final name only when everything in it is written. */
export interface OutputFolder {
  /** Where to write until then. */
  readonly partialPath: string;
  /** A file in it that `commit` removes: it says whose the folder is, and has room for a journal. */
  readonly markerPath: string;
  commit(): void;
  discard(): void;
  /** Leaves what is there to a later run. */
  suspend(): void;
}

export interface OutputFolderOptions {
  /** Whether the finished folder gives way to the new one. */
  readonly replaceEarlier?: boolean | undefined;
  /** Whether what an interrupted run left stays, to be gone on with. */
  readonly keepsPartial?: boolean;
}

/**
 * Prepares `<outPath>.partial`, in which one process writes at a time. What an interrupted run left there is removed, or
 * kept where `keepsPartial` says so; anything else is not touched. Throws `output_exists`, `output_unwritable` or `disk_full`.
 */
export function openOutputFolder(
  outPath: string,
  { replaceEarlier = false, keepsPartial = false }: OutputFolderOptions = {},
): OutputFolder {
  const target = checkTarget(outPath, replaceEarlier);
  const partialPath = `${target}.partial`;
  const markerPath = path.join(partialPath, marker);
  return asWriteFaults(outPath, () => {
    if (existsSync(partialPath) && !existsSync(markerPath))
      throw outputExists(partialPath, "already holds files of another origin");
    const lockPath = path.join(partialPath, lock);
    refuseLocked(partialPath, lockPath);
    if (!keepsPartial) rmSync(partialPath, { recursive: true, force: true });
    makeFolder(partialPath, outPath);
    writeFileSync(lockPath, String(process.pid));
    appendFileSync(markerPath, "");
    return {
      partialPath,
      markerPath,
      commit: () =>
        asWriteFaults(outPath, () => {
          syncFolder(partialPath);
          if (replaceEarlier) rmSync(target, { recursive: true, force: true });
          renameSync(partialPath, target);
          // Last, so that a run that ends before the rename leaves what the next one may remove.
          rmSync(path.join(target, lock));
          rmSync(path.join(target, marker));
          syncFolder(path.dirname(target));
        }),
      discard: () => rmSync(partialPath, { recursive: true, force: true }),
      suspend: () => rmSync(lockPath, { force: true }),
    };
  });
}

/** Two runs in one folder would take each other's files for their own. */
function refuseLocked(partialPath: string, lockPath: string): void {
  if (!existsSync(lockPath)) return;
  const owner = Number(readFileSync(lockPath, "utf8"));
  if (!(owner > 0) || owner === process.pid || !isRunning(owner)) return;
  throw new MillraceError(
    "output_exists",
    `${partialPath} is being written by process ${owner}. One run at a time can write it. Wait for that one, choose another --out, or remove ${lockPath} if process ${owner} is no run of this program.`,
    { param: "--out" },
  );
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    // Of another user.
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}

/** The folder's own path, links resolved; refuses what the finished folder cannot, or may not, take the place of. */
function checkTarget(outPath: string, mayHoldFiles: boolean): string {
  if (!existsSync(outPath)) return path.resolve(outPath);
  const target = realpathSync(outPath);
  const stats = statSync(target);
  if (!stats.isDirectory() || (!mayHoldFiles && readdirSync(target).length > 0))
    throw outputExists(outPath, stats.isDirectory() ? "already holds files" : "is a file");
  if (stats.dev !== statSync(path.dirname(target)).dev) {
    throw unwritable(outPath, "it is a mount point, which no finished folder can replace");
  }
  return target;
}

/** Throws `disk_full` when the file system of a new folder has less room than `bytes`. */
export function checkFreeSpace(folder: string, bytes: number): void {
  const { bavail, bsize } = statfsSync(folder);
  const free = bavail * bsize;
  if (free >= bytes) return;
  throw new MillraceError(
    "disk_full",
    `${path.dirname(path.resolve(folder))} has ${formatBytes(free)} free; the weights need ${formatBytes(bytes)}. Free some or choose another --out; nothing was written.`,
    { param: "--out" },
  );
}

export function outputExists(where: string, what: string): MillraceError {
  return new MillraceError(
    "output_exists",
    `${where} ${what}. A new or empty folder, or a new name that ends in .gguf, is needed. Choose another --out or remove it.`,
    { param: "--out" },
  );
}
