import { MillraceError } from "../base/errors.ts";
import { type OpenFile, openFile } from "./file-access.ts";
import { isJsonObject, type JsonObject, parseJsonObject } from "./json-file.ts";

/** Largest header that is read, as in the reference implementation. */
export const maxSafetensorsHeaderBytes = 100_000_000;

/** Bits of one element of each type that the format knows (safetensors 0.8). */
export const dtypeBits: Readonly<Record<string, number>> = {
  BOOL: 8,
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  U8: 8,
  I8: 8,
  F8_E4M3: 8,
  F8_E5M2: 8,
  F8_E8M0: 8,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  I64: 64,
  U64: 64,
  F64: 64,
  C64: 64,
};

/** One tensor of a safetensors file. */
export interface SafetensorsEntry {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  /** First byte, counted from the start of the file. */
  readonly offset: number;
  readonly sizeBytes: number;
}

export interface SafetensorsHeader {
  readonly path: string;
  /** In order of offset. */
  readonly entries: ReadonlyMap<string, SafetensorsEntry>;
  readonly metadata: Readonly<Record<string, string>>;
  readonly fileSizeBytes: number;
}

/** Bytes of `count` elements of a type, or undefined for an unknown type or a broken byte. */
export function safetensorsSize(dtype: string, count: number): number | undefined {
  const bits = Object.hasOwn(dtypeBits, dtype) ? dtypeBits[dtype] : undefined;
  if (bits === undefined) return undefined;
  if (bits >= 8) return count * (bits / 8);
  return (count * bits) % 8 === 0 ? (count * bits) / 8 : undefined;
}

/**
 * Reads and checks a safetensors header without touching the tensors: lengths, JSON, repeated keys, element
 * types, sizes, overlaps, holes, and that the last tensor ends where the file does.
 * Throws `file_not_found`, `invalid_model_file`, or `unsupported_format` for an unknown element type.
 */
export function readSafetensorsHeader(path: string): SafetensorsHeader {
  const file = openFile(path);
  try {
    return readHeader(file);
  } finally {
    file.close();
  }
}

function readHeader(file: OpenFile): SafetensorsHeader {
  if (file.sizeBytes < 8)
    throw damaged(file.path, `has ${file.sizeBytes} bytes; the header length alone has 8`);
  const prefix = file.read(0, 8);
  const named = new DataView(prefix.buffer).getBigUint64(0, true);
  if (named > maxSafetensorsHeaderBytes) {
    throw damaged(
      file.path,
      `names a header of ${named} bytes; at most ${maxSafetensorsHeaderBytes} are allowed`,
    );
  }
  const length = Number(named);
  if (8 + length > file.sizeBytes) {
    throw damaged(file.path, `names a header of ${length} bytes, but the file has ${file.sizeBytes} in all`);
  }
  const text = decodeUtf8(file.read(8, length), file.path);
  if (!text.startsWith("{")) throw damaged(file.path, "has a header that does not begin with {");
  const json = parseJsonObject(text, `The header of ${file.path}`);
  if (countKeysInText(text) !== countKeys(json)) throw damaged(file.path, "has a header with a repeated key");
  const dataStart = 8 + length;
  return {
    path: file.path,
    entries: checkEntries(json, file, dataStart),
    metadata: checkMetadata(json["__metadata__"], file.path),
    fileSizeBytes: file.sizeBytes,
  };
}

function decodeUtf8(bytes: Uint8Array, path: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    throw damaged(path, "has a header that is not UTF-8", error);
  }
}

function checkMetadata(value: unknown, path: string): Record<string, string> {
  if (value === undefined) return {};
  if (!isJsonObject(value)) throw damaged(path, "has a __metadata__ that is not an object");
  const metadata: Record<string, string> = {};
  for (const [key, text] of Object.entries(value)) {
    if (typeof text !== "string")
      throw damaged(path, `has a __metadata__ entry "${shown(key)}" that is not a string`);
    metadata[key] = text;
  }
  return metadata;
}

function checkEntries(json: JsonObject, file: OpenFile, dataStart: number): Map<string, SafetensorsEntry> {
  const entries: SafetensorsEntry[] = [];
  for (const [name, value] of Object.entries(json)) {
    if (name !== "__metadata__") entries.push(checkEntry(name, value, file, dataStart));
  }
  entries.sort((a, b) => a.offset - b.offset || a.sizeBytes - b.sizeBytes);
  let end = dataStart;
  for (const entry of entries) {
    if (entry.offset !== end) {
      const kind = entry.offset < end ? "overlaps the tensor before it" : "leaves a hole before it";
      throw damaged(
        file.path,
        `has a tensor "${shown(entry.name)}" that ${kind} (byte ${entry.offset}, expected ${end})`,
      );
    }
    end += entry.sizeBytes;
  }
  if (end !== file.sizeBytes) {
    throw damaged(file.path, `has ${file.sizeBytes} bytes, but its tensors end at byte ${end}`);
  }
  return new Map(entries.map((entry) => [entry.name, entry]));
}

function checkEntry(
  name: string,
  value: unknown,
  { path, sizeBytes: fileSizeBytes }: OpenFile,
  dataStart: number,
): SafetensorsEntry {
  const what = `tensor "${shown(name)}"`;
  if (!isJsonObject(value)) throw damaged(path, `has a ${what} that is not described by an object`);
  const { dtype, shape, data_offsets: offsets } = value;
  if (typeof dtype !== "string") throw damaged(path, `has a ${what} without a dtype`);
  if (!isCountList(shape)) throw damaged(path, `has a ${what} without a shape of whole numbers`);
  if (!isCountList(offsets) || offsets.length !== 2)
    throw damaged(path, `has a ${what} without two data_offsets`);
  const [begin, end] = offsets as [number, number];
  const count = product(shape);
  if (count === undefined) throw damaged(path, `has a ${what} whose shape overflows`);
  if (!Object.hasOwn(dtypeBits, dtype)) {
    throw new MillraceError(
      "unsupported_format",
      `${path} has a ${what} of type "${shown(dtype)}"; known types are ${Object.keys(dtypeBits).join(", ")}. Convert it to one of these.`,
    );
  }
  const size = safetensorsSize(dtype, count);
  if (size !== end - begin) {
    throw damaged(
      path,
      `has a ${what} of ${end - begin} bytes; ${dtype} [${shape.join(", ")}] takes ${size}`,
    );
  }
  if (dataStart + end > fileSizeBytes) {
    throw damaged(path, `has ${fileSizeBytes} bytes, but its ${what} ends at byte ${dataStart + end}`);
  }
  return { name, dtype, shape, offset: dataStart + begin, sizeBytes: size };
}

function isCountList(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && (item as number) >= 0);
}

/** Number of elements of a shape; undefined when it cannot be held exactly. */
export function product(shape: readonly number[]): number | undefined {
  let count = 1;
  for (const size of shape) {
    count *= size;
    if (!Number.isSafeInteger(count * 8)) return undefined;
  }
  return count;
}

/** JSON.parse keeps the last of repeated keys without a word, so keys are counted before and after. */
function countKeysInText(text: string): number {
  let keys = 0;
  let at = text.indexOf('"');
  while (at >= 0) {
    at += 1;
    while (text.charCodeAt(at) !== 0x22) at += text.charCodeAt(at) === 0x5c ? 2 : 1;
    at += 1;
    while (text.charCodeAt(at) <= 0x20) at += 1;
    if (text.charCodeAt(at) === 0x3a) keys += 1;
    at = text.indexOf('"', at);
  }
  return keys;
}

function countKeys(value: unknown): number {
  if (typeof value !== "object" || value === null) return 0;
  let keys = 0;
  const pending: object[] = [value];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    if (!Array.isArray(next)) keys += Object.keys(next).length;
    for (const item of Object.values(next) as unknown[]) {
      if (typeof item === "object" && item !== null) pending.push(item);
    }
  }
  return keys;
}

function shown(text: string): string {
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}

function damaged(path: string, what: string, cause?: unknown): MillraceError {
  return new MillraceError(
    "invalid_model_file",
    `${path} ${what}. Fetch the file again and compare its size and hash with the source's.`,
    cause === undefined ? {} : { cause },
  );
}
