import {
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import { MillraceError, messageOf } from "../base/errors.ts";
import { formatBytes } from "../base/units.ts";

const marker = ".millrace-partial";

const diskErrors = new Set([
  "ENOSPC",
  "EDQUOT",
  "EFBIG",
  "EIO",
  "EROFS",
  "EACCES",
  "EPERM",
  "ENOENT",
  "ENOTDIR",
]);

/** A folder that gets its final name only when everything in it is written. */
export interface OutputFolder {
  /** Where to write until then. */
  readonly partialPath: string;
  commit(): void;
  discard(): void;
}

/** Throws `output_exists` when the path holds anything but an empty folder. */
export function checkOutputIsFree(outPath: string): void {
  if (existsSync(outPath) && !(statSync(outPath).isDirectory() && readdirSync(outPath).length === 0)) {
    throw outputExists(outPath, "something else");
  }
}

/**
 * Prepares `<outPath>.partial`. What an interrupted run left there is removed; anything else is not touched.
 * Throws `output_exists` or `disk_full`.
 */
export function openOutputFolder(outPath: string): OutputFolder {
  const partialPath = `${path.resolve(outPath)}.partial`;
  return asDiskErrors(outPath, () => {
    checkOutputIsFree(outPath);
    if (existsSync(partialPath)) {
      if (!existsSync(path.join(partialPath, marker)))
        throw outputExists(partialPath, "files of another origin");
      rmSync(partialPath, { recursive: true });
    }
    mkdirSync(partialPath, { recursive: true });
    writeFileSync(path.join(partialPath, marker), "");
    return {
      partialPath,
      commit: () => {
        rmSync(path.join(partialPath, marker));
        renameSync(partialPath, outPath);
      },
      discard: () => rmSync(partialPath, { recursive: true, force: true }),
    };
  });
}

/** Throws `disk_full` when the folder's file system has less room than `bytes`. */
export function checkFreeSpace(folder: string, bytes: number): void {
  const { bavail, bsize } = statfsSync(folder);
  const free = bavail * bsize;
  if (free >= bytes) return;
  throw new MillraceError(
    "disk_full",
    `${folder} has ${formatBytes(free)} free; the weights need ${formatBytes(bytes)}. Free some or choose another --out; nothing was written.`,
    { param: "--out" },
  );
}

/** Runs file-system work and turns its failures into `disk_full`, with the cause kept. */
export function asDiskErrors<T>(outPath: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw toDiskError(outPath, error);
  }
}

/** A failed write as `disk_full`; other errors as they are. */
export function toDiskError(outPath: string, error: unknown): unknown {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  if (typeof code !== "string" || !diskErrors.has(code)) return error;
  return new MillraceError(
    "disk_full",
    `Writing ${outPath} failed (${messageOf(error)}). It needs a writable folder with enough free space. Free some or choose another --out; nothing was left under that name.`,
    { param: "--out", cause: error },
  );
}

function outputExists(where: string, what: string): MillraceError {
  return new MillraceError(
    "output_exists",
    `${where} already holds ${what}. A new or empty folder is needed. Choose another --out or remove it.`,
    { param: "--out" },
  );
}
