import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import path from "node:path";
import { isMillraceError, MillraceError, systemReasonOf } from "./errors.ts";

/** Characters that are written at once. */
const batchLength = 2 ** 20;

/** A file that gets its final name only when it is whole. Every method throws `disk_full` or `output_unwritable`. */
export interface PartialFile {
  /** Writes all bytes at a position, counted from the start of the file. */
  write(bytes: Uint8Array, position: number): void;
  /** Bytes [position, position + length) of what was written; fewer at the end of the file. */
  read(position: number, length: number): Uint8Array;
  /** Syncs, closes and renames: the final name never shows a part of the file, also after a power cut. */
  commit(): void;
  /** Closes and removes what was not committed. */
  discard(): void;
  /** Closes what was not committed and leaves it, for `isResumed`. */
  suspend(): void;
}

/**
 * Opens `<file>.partial` for writing, in a folder that is made when needed. A stale one is written over, or gone on with
 * where `isResumed` says so; that also takes back a file that was committed already.
 */
export function openPartialFile(
  file: string,
  { isResumed = false }: { readonly isResumed?: boolean } = {},
): PartialFile {
  const partial = `${file}.partial`;
  makeFolder(path.dirname(path.resolve(file)), file);
  const descriptor = asWriteFaults(file, () => {
    // A run may have ended right after `commit`, before what stands around the file was done.
    if (isResumed && existsSync(file) && !existsSync(partial)) renameSync(file, partial);
    return openSync(partial, isResumed && existsSync(partial) ? "r+" : "w+");
  });
  let isOpen = true;
  const close = (): void => {
    if (isOpen) closeSync(descriptor);
    isOpen = false;
  };
  return {
    write: (bytes, position) => asWriteFaults(file, () => writeAll(descriptor, bytes, position)),
    read: (position, length) => asWriteFaults(file, () => readUpTo(descriptor, position, length)),
    commit: () =>
      asWriteFaults(file, () => {
        fsyncSync(descriptor);
        close();
        renameSync(partial, file);
      }),
    discard: () => {
      close();
      rmSync(partial, { force: true });
    },
    suspend: close,
  };
}

/**
 * Writes a whole file under a temporary name and renames it, so that the final name never holds half a file.
 * Makes the folder when needed. Throws `disk_full` or `output_unwritable`.
 */
export function writeFileAtomically(file: string, content: string | Uint8Array): void {
  const opened = openPartialFile(file);
  try {
    opened.write(typeof content === "string" ? Buffer.from(content, "utf8") : content, 0);
    opened.commit();
  } finally {
    opened.discard();
  }
}

/** As `writeFileAtomically`, of text that is more than one string holds: in V8 that is half a Gi of characters. */
export function writePiecesAtomically(file: string, pieces: Iterable<string>): void {
  const opened = openPartialFile(file);
  let batch = "";
  let position = 0;
  const writeBatch = (): void => {
    const bytes = Buffer.from(batch, "utf8");
    opened.write(bytes, position);
    position += bytes.length;
    batch = "";
  };
  try {
    for (const piece of pieces) {
      batch += piece;
      if (batch.length >= batchLength) writeBatch();
    }
    writeBatch();
    opened.commit();
  } finally {
    opened.discard();
  }
}

/**
 * Makes a folder and those above it, one at a time: Node's own recursive mkdir never ends where the system answers
 * "no such file" for a folder that is there, as /proc does. Throws `disk_full` or `output_unwritable`, naming `target`.
 */
export function makeFolder(folder: string, target: string = folder): void {
  const missing: string[] = [];
  let nearest = path.resolve(folder);
  for (; !existsSync(nearest); nearest = path.dirname(nearest)) missing.push(nearest);
  if (!statSync(nearest).isDirectory()) throw unwritable(target, `${nearest} is not a folder`);
  for (const each of missing.toReversed()) asWriteFaults(target, () => mkdirSync(each));
}

/** Puts the names in a folder on the disk, where the file system does that for folders. */
export function syncFolder(folder: string): void {
  const descriptor = openSync(folder, "r");
  try {
    fsyncSync(descriptor);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "EINVAL")) throw error;
  } finally {
    closeSync(descriptor);
  }
}

/** Runs file-system work; a failure of the system becomes `disk_full` or `output_unwritable`, with the cause kept. */
export function asWriteFaults<T>(target: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw toWriteFault(target, error);
  }
}

/** What the system says when there is no more room: on the device, in the quota, or for a file of that size. */
const fullCodes: ReadonlySet<unknown> = new Set(["ENOSPC", "EDQUOT", "EFBIG"]);

/** A failure of the system while `target` was written, as ours; other errors as they are. */
export function toWriteFault(target: string, error: unknown): unknown {
  if (isMillraceError(error) || !(error instanceof Error) || !("syscall" in error)) return error;
  if (!("code" in error) || !fullCodes.has(error.code))
    return unwritable(target, systemReasonOf(error), error);
  return new MillraceError(
    "disk_full",
    `${target} cannot be written: ${systemReasonOf(error)}. It takes a file system with enough free space. Free some or choose another --out; nothing is left under that name.`,
    { param: "--out", cause: error },
  );
}

/** The error `output_unwritable` for a place that takes no output. */
export function unwritable(target: string, problem: string, cause?: unknown): MillraceError {
  return new MillraceError(
    "output_unwritable",
    `${target} cannot be written: ${problem}. It takes a writable folder, or a new one inside one. Choose another --out.`,
    cause === undefined ? { param: "--out" } : { param: "--out", cause },
  );
}

function writeAll(descriptor: number, bytes: Uint8Array, position: number): void {
  for (let done = 0; done < bytes.length; ) {
    done += writeSync(descriptor, bytes, done, bytes.length - done, position + done);
  }
}

function readUpTo(descriptor: number, position: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let done = 0;
  while (done < length) {
    const count = readSync(descriptor, bytes, done, length - done, position + done);
    if (count === 0) break;
    done += count;
  }
  return bytes.subarray(0, done);
}
