import { invariant } from "../base/invariant.ts";
import { openPartialFile, type PartialFile } from "../base/write-file.ts";

/** A file of tensors in the making, whatever its format. Every byte of every tensor is written once, in any order. */
export interface TensorFile {
  /** Whether the file goes on from an earlier run's, with the same header. */
  readonly isResumed: boolean;
  /** Bytes of a tensor from `at` on, little-endian. Throws `disk_full` or `output_unwritable`. */
  write(name: string, data: Uint8Array, at?: number): void;
  /** What an earlier run wrote of a tensor, in pieces; it then counts as written. Only where `isResumed`. */
  keep(part: TensorPart, onPiece: (bytes: Uint8Array) => void): void;
  /** Takes back that a part was written. */
  reset(part: TensorPart): void;
  /** Gives the file its name; all tensors must have been written. */
  commit(): void;
  /** Removes what was not committed. */
  discard(): void;
  /** Closes what was not committed and leaves it for a run that resumes. */
  suspend(): void;
}

/** Bytes [at, at + size) of a tensor. */
export interface TensorPart {
  readonly name: string;
  readonly at: number;
  readonly size: number;
}

/** All that a file holds beside the bytes of its tensors. */
export interface TensorLayout {
  readonly header: Uint8Array;
  /** By name; offsets count from the end of the header. */
  readonly places: ReadonlyMap<string, { readonly offset: number; readonly size: number }>;
  /** Bytes behind the header, padding included. */
  readonly sizeBytes: number;
}

/** Bytes that `keep` reads at a time. */
const pieceBytes = 1 << 20;

/**
 * Begins a file: all sizes are known before a value is computed, so the header is written first and each tensor goes to
 * its offset. The file appears under its name at `commit`. With `isResumed` it goes on with what a suspended or killed
 * run left, if its header is the same. Throws `disk_full` or `output_unwritable`.
 */
export function createTensorFile(path: string, layout: TensorLayout, isResumed: boolean): TensorFile {
  const { header, places, sizeBytes } = layout;
  const { file, isSame } = openFor(path, header, isResumed);
  const left = new Map([...places].map(([name, { size }]) => [name, size]));
  const take = (name: string, at: number, size: number): number => {
    const place = places.get(name);
    invariant(place !== undefined, `${name} is a tensor of the file`);
    const remaining = left.get(name)! - size;
    invariant(at + size <= place.size && remaining >= 0, `${name} has ${place.size} bytes`);
    left.set(name, remaining);
    return header.length + place.offset + at;
  };
  const writer: TensorFile = {
    isResumed: isSame,
    write: (name, data, at = 0) => file.write(data, take(name, at, data.length)),
    keep: ({ name, at, size }, onPiece) => {
      const from = take(name, at, size);
      for (let done = 0; done < size; done += pieceBytes)
        onPiece(file.read(from + done, Math.min(pieceBytes, size - done)));
    },
    reset: ({ name, size }) => left.set(name, left.get(name)! + size),
    commit: () => {
      for (const [name, bytes] of left) invariant(bytes === 0, `${name} lacks ${bytes} bytes`);
      file.commit();
    },
    discard: () => file.discard(),
    suspend: () => file.suspend(),
  };
  try {
    if (!isSame) begin(file, header, sizeBytes);
  } catch (error) {
    file.discard();
    throw error;
  }
  return writer;
}

function begin(file: PartialFile, header: Uint8Array, sizeBytes: number): void {
  file.write(header, 0);
  if (sizeBytes > 0) file.write(Uint8Array.of(0), header.length + sizeBytes - 1);
}

/** The file, and whether it holds the same header already. One with another header is written over. */
function openFor(
  path: string,
  header: Uint8Array,
  isResumed: boolean,
): { readonly file: PartialFile; readonly isSame: boolean } {
  if (isResumed) {
    const file = openPartialFile(path, { isResumed });
    if (Buffer.compare(file.read(0, header.length), header) === 0) return { file, isSame: true };
    file.suspend();
  }
  return { file: openPartialFile(path), isSame: false };
}
