import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { MillraceError, systemReasonOf } from "../base/errors.ts";
import type { MappedFile } from "./checkpoint.ts";

/** 256 MiB. Node reads at most 2 GiB at once. */
const maxReadBytes = 1 << 28;

/** A file opened for positional reads. Callers close it. */
export interface OpenFile {
  readonly path: string;
  readonly sizeBytes: number;
  /** Bytes [offset, offset + length); fewer only at the end of the file. */
  read(offset: number, length: number): Uint8Array<ArrayBuffer>;
  close(): void;
}

/** Opens a regular file. Throws `file_not_found`. */
export function openFile(path: string): OpenFile {
  let descriptor: number;
  try {
    descriptor = openSync(path, "r");
  } catch (error) {
    throw unreadable(path, error);
  }
  const stats = fstatSync(descriptor);
  if (!stats.isFile()) {
    closeSync(descriptor);
    throw new MillraceError("file_not_found", `${path} is not a regular file. Give the path of a file.`);
  }
  return {
    path,
    sizeBytes: stats.size,
    read: (offset, length) => readInto(descriptor, offset, Math.min(length, stats.size - offset)),
    close: () => closeSync(descriptor),
  };
}

/** The default file mapper: reads the whole file into memory. Throws `file_not_found`. */
export function readWholeFile(path: string): MappedFile {
  const file = openFile(path);
  try {
    return { buffer: file.read(0, file.sizeBytes).buffer, dropPages: () => {} };
  } finally {
    file.close();
  }
}

/** A small text file, such as a config. Throws `file_not_found`, or `invalid_model_file` above `maxBytes`. */
export function readTextFile(path: string, maxBytes: number): string {
  const file = openFile(path);
  try {
    if (file.sizeBytes > maxBytes) {
      throw new MillraceError(
        "invalid_model_file",
        `${path} has ${file.sizeBytes} bytes; at most ${maxBytes} are read. Check that it is the right file.`,
      );
    }
    return new TextDecoder().decode(file.read(0, file.sizeBytes));
  } finally {
    file.close();
  }
}

function readInto(descriptor: number, offset: number, length: number): Uint8Array<ArrayBuffer> {
  const buffer = new ArrayBuffer(Math.max(0, length));
  let done = 0;
  while (done < length) {
    const part = new Uint8Array(buffer, done, Math.min(maxReadBytes, length - done));
    const count = readSync(descriptor, part, 0, part.length, offset + done);
    if (count === 0) break;
    done += count;
  }
  return done === length ? asBytes(buffer) : new Uint8Array(buffer.slice(0, done));
}

/** A view of a whole buffer. Above 4 GiB, which a byte array cannot span, the view is of its first part only. */
function asBytes(buffer: ArrayBuffer): Uint8Array<ArrayBuffer> {
  return new Uint8Array(buffer, 0, Math.min(buffer.byteLength, 2 ** 32 - 1));
}

/** The error `file_not_found` for a file that the system does not give. */
export function unreadable(path: string, error: unknown): MillraceError {
  return new MillraceError(
    "file_not_found",
    `${path} cannot be read: ${systemReasonOf(error)}. Check the path and its permissions.`,
    { cause: error },
  );
}
