import { existsSync } from "node:fs";
import path from "node:path";
import { MillraceError } from "../../base/errors.ts";
import { type GgufHeader, type GgufTensor, readGgufHeader } from "./header.ts";
import { GgufKeys } from "./metadata.ts";

const splitName = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/i;

/** The path of part `number` (from 1) of `count`: "model-00001-of-00003.gguf". */
export function splitPath(prefix: string, number: number, count: number): string {
  const digits = (value: number): string => String(value).padStart(5, "0");
  return `${prefix}-${digits(number)}-of-${digits(count)}.gguf`;
}

/** The first part of a split model where all these file names are parts of one, else undefined. */
export function firstOfSplit(names: readonly string[]): string | undefined {
  const parts = names.map((name) => splitName.exec(name));
  const [first] = parts;
  const isOne = first && parts.every((part) => part?.[1] === first[1] && part?.[3] === first[3]);
  return isOne ? names.toSorted()[0] : undefined;
}

/**
 * The header of a GGUF model in one file or in the parts that llama-gguf-split makes, of which any may be named:
 * metadata of the first, tensors of all. Throws as `readGgufHeader`, `file_not_found` for a part that is not there, and
 * `invalid_model_file` for parts that do not belong together.
 */
export function readGgufFiles(file: string): GgufHeader {
  const header = readGgufHeader(file);
  const keys = new GgufKeys(header.metadata, file);
  const count = keys.number("split.count") ?? 1;
  if (count <= 1) return header;
  const name = splitName.exec(path.basename(file));
  if (name === null || Number(name[3]) !== count) {
    throw new MillraceError(
      "invalid_model_file",
      `${file} is part ${(keys.number("split.no") ?? 0) + 1} of ${count} of a split model; the parts must be called NAME-00001-of-${String(count).padStart(5, "0")}.gguf and so on. Give the files their names back.`,
    );
  }
  const prefix = path.join(path.dirname(file), name[1]!);
  const headers = Array.from({ length: count }, (_, index) => readPart(prefix, index, count));
  return merge(headers);
}

function readPart(prefix: string, index: number, count: number): GgufHeader {
  const file = splitPath(prefix, index + 1, count);
  if (!existsSync(file)) {
    throw new MillraceError(
      "file_not_found",
      `${file} is not there; the model has ${count} parts, which must lie in one folder. Fetch the missing part.`,
    );
  }
  const header = readGgufHeader(file);
  const keys = new GgufKeys(header.metadata, file);
  const [seenIndex, seenCount] = [keys.number("split.no"), keys.number("split.count")];
  if (seenIndex === index && seenCount === count) return header;
  throw new MillraceError(
    "invalid_model_file",
    `${file} says that it is part ${(seenIndex ?? 0) + 1} of ${seenCount ?? 1}; its name says ${index + 1} of ${count}. Fetch the parts again.`,
  );
}

function merge(headers: readonly GgufHeader[]): GgufHeader {
  const tensors = new Map<string, GgufTensor>();
  for (const header of headers) {
    for (const [name, tensor] of header.tensors) {
      const other = tensors.get(name);
      if (other !== undefined) {
        throw new MillraceError(
          "invalid_model_file",
          `${name} is both in ${other.file.path} and in ${header.path}. Fetch the parts again.`,
        );
      }
      tensors.set(name, tensor);
    }
  }
  const { path: first, metadata } = headers[0]!;
  const expected = new GgufKeys(metadata, first).number("split.tensors.count");
  if (expected !== undefined && expected !== tensors.size) {
    throw new MillraceError(
      "invalid_model_file",
      `${first} says that the parts hold ${expected} tensors; they hold ${tensors.size}. Fetch the parts again.`,
    );
  }
  return {
    path: first,
    metadata,
    tensors,
    sizeBytes: headers.reduce((sum, header) => sum + header.sizeBytes, 0),
  };
}
