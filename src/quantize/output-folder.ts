import {
  appendFileSync,
  existsSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
} from "node:fs";
import path from "node:path";
import { MillraceError } from "../base/errors.ts";
import { formatBytes } from "../base/units.ts";
import { asWriteFaults, makeFolder, unwritable } from "../base/write-file.ts";

const marker = ".millrace-partial";

/** A folder that gets its final name only when everything in it is written. */
export interface OutputFolder {
  /** Where to write until then. */
  readonly partialPath: string;
  /** A file in it that `commit` removes: it says whose the folder is, and has room for a journal. */
  readonly markerPath: string;
  commit(): void;
  discard(): void;
}

export interface OutputFolderOptions {
  /** Whether the finished folder gives way to the new one. */
  readonly replaceEarlier?: boolean | undefined;
  /** Whether what an interrupted run left stays, to be gone on with. */
  readonly keepsPartial?: boolean;
}

/**
 * Prepares `<outPath>.partial`. What an interrupted run left there is removed, or kept where `keepsPartial` says so;
 * anything else is not touched. Throws `output_exists`, `output_unwritable` or `disk_full`.
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
    if (!keepsPartial) rmSync(partialPath, { recursive: true, force: true });
    makeFolder(partialPath, outPath);
    appendFileSync(markerPath, "");
    return {
      partialPath,
      markerPath,
      commit: () =>
        asWriteFaults(outPath, () => {
          if (replaceEarlier) rmSync(target, { recursive: true, force: true });
          renameSync(partialPath, target);
          // Last, so that a run that ends before the rename leaves what the next one may remove.
          rmSync(path.join(target, marker));
        }),
      discard: () => rmSync(partialPath, { recursive: true, force: true }),
    };
  });
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
