import {
  appendFileSync,
  existsSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  truncateSync,
} from "node:fs";
import path from "node:path";
import { MillraceError } from "../base/errors.ts";
import { folderLockName, lockFolder } from "../base/folder-lock.ts";
import { formatBytes } from "../base/units.ts";
import { asWriteFaults, makeFolder, syncFolder, unwritable } from "../base/write-file.ts";

const marker = ".millrace-partial";

/** A folder that gets its final name only when everything in it is written. */
export interface OutputFolder {
  /** Where to write until then. */
  readonly partialPath: string;
  /** A file in it that `commit` removes: it says whose the folder is, and has room for a journal. */
  readonly markerPath: string;
  /** Removes what an earlier run left, but for what says whose the folder is and for files of these names. */
  clear(kept?: readonly string[]): void;
  commit(): void;
  discard(): void;
  /** Leaves what is there to a later run. */
  suspend(): void;
}

export interface OutputFolderOptions {
  /** Whether the finished folder gives way to the new one. */
  readonly replaceEarlier?: boolean | undefined;
  /** Whether what an interrupted run left stays, to be gone on with or cleared. */
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
    if (existsSync(partialPath) && !existsSync(markerPath) && !isEmptyFolder(partialPath))
      throw outputExists(partialPath, "already holds files of another origin");
    makeFolder(partialPath, outPath);
    // First, so that a run that ends here leaves what the next one may remove.
    appendFileSync(markerPath, "");
    const lock = lockFolder(partialPath);
    if (!keepsPartial) {
      truncateSync(markerPath);
      clear(partialPath);
    }
    return {
      partialPath,
      markerPath,
      clear: (kept) => clear(partialPath, kept),
      commit: () =>
        asWriteFaults(outPath, () => {
          syncFolder(partialPath);
          if (replaceEarlier) rmSync(target, { recursive: true, force: true });
          renameSync(partialPath, target);
          // Last, so that a run that ends before the rename leaves what the next one may remove.
          rmSync(path.join(target, folderLockName));
          rmSync(path.join(target, marker));
          syncFolder(path.dirname(target));
        }),
      discard: () => rmSync(partialPath, { recursive: true, force: true }),
      suspend: () => lock.release(),
    };
  });
}

function clear(partialPath: string, kept: readonly string[] = []): void {
  const stays = new Set([marker, folderLockName, ...kept]);
  for (const name of readdirSync(partialPath))
    if (!stays.has(name)) rmSync(path.join(partialPath, name), { recursive: true, force: true });
}

/** What a run leaves that ends before it says whose the folder is. */
function isEmptyFolder(place: string): boolean {
  return statSync(place).isDirectory() && readdirSync(place).length === 0;
}

/**
 * The folder's own path, links resolved. Throws `output_exists` or `output_unwritable` for what a finished folder may
 * not, or cannot, take the place of.
 */
export function checkTarget(outPath: string, mayHoldFiles: boolean): string {
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
    `${where} ${what}. A new or empty folder is needed. Choose another --out or remove it.`,
    { param: "--out" },
  );
}
