import {
  existsSync,
  readdirSync,
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
import { asWriteFaults, makeFolder, unwritable } from "../base/write-file.ts";

const marker = ".millrace-partial";

/** A folder that gets its final name only when everything in it is written. */
export interface OutputFolder {
  /** Where to write until then. */
  readonly partialPath: string;
  commit(): void;
  discard(): void;
}

/**
 * Prepares `<outPath>.partial`. What an interrupted run left there is removed; anything else is not touched, but for
 * the finished folder where `replaceEarlier` says so: it gives way to the new one.
 * Throws `output_exists`, `output_unwritable` or `disk_full`.
 */
export function openOutputFolder(
  outPath: string,
  { replaceEarlier = false }: { readonly replaceEarlier?: boolean | undefined } = {},
): OutputFolder {
  const target = checkTarget(outPath, replaceEarlier);
  const partialPath = `${target}.partial`;
  return asWriteFaults(outPath, () => {
    if (existsSync(partialPath)) {
      if (!existsSync(path.join(partialPath, marker)))
        throw outputExists(partialPath, "already holds files of another origin");
      rmSync(partialPath, { recursive: true });
    }
    makeFolder(partialPath, outPath);
    writeFileSync(path.join(partialPath, marker), "");
    return {
      partialPath,
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

function outputExists(where: string, what: string): MillraceError {
  return new MillraceError(
    "output_exists",
    `${where} ${what}. A new or empty folder is needed. Choose another --out or remove it.`,
    { param: "--out" },
  );
}
