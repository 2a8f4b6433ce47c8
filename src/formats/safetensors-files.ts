import { existsSync } from "node:fs";
import path from "node:path";
import { MillraceError } from "../base/errors.ts";
import type { FileMapper, MappedFile, TensorInfo } from "./checkpoint.ts";
import { openFile } from "./file-access.ts";
import { isJsonObject, readJsonObject } from "./json-file.ts";
import { readSafetensorsHeader, type SafetensorsEntry, type SafetensorsHeader } from "./safetensors.ts";
import type { StoredTensor, TensorReader } from "./stored-tensor.ts";

/** The tensors of one or several safetensors files. Headers are read at once, a file is mapped when first used. */
export class SafetensorsFiles implements TensorReader {
  readonly infos: readonly TensorInfo[];
  /** Bytes of all files. */
  readonly sizeBytes: number;
  readonly #places: ReadonlyMap<
    string,
    { readonly header: SafetensorsHeader; readonly entry: SafetensorsEntry }
  >;
  readonly #files: Map<string, MappedFile> = new Map();
  readonly #mapFile: FileMapper;

  /** Throws `invalid_model_file` where two files hold a tensor of the same name. */
  constructor(headers: readonly SafetensorsHeader[], mapFile: FileMapper) {
    const places = new Map<string, { header: SafetensorsHeader; entry: SafetensorsEntry }>();
    for (const header of headers) {
      for (const entry of header.entries.values()) {
        const other = places.get(entry.name);
        if (other !== undefined) {
          throw new MillraceError(
            "invalid_model_file",
            `${entry.name} is both in ${other.header.path} and in ${header.path}. Fetch the model again.`,
          );
        }
        places.set(entry.name, { header, entry });
      }
    }
    this.#places = places;
    this.#mapFile = mapFile;
    this.sizeBytes = headers.reduce((sum, header) => sum + header.fileSizeBytes, 0);
    this.infos = [...places.values()].map(({ header, entry }) => ({
      name: entry.name,
      dtype: entry.dtype,
      shape: entry.shape,
      sizeBytes: entry.sizeBytes,
      file: header.path,
    }));
  }

  has(name: string): boolean {
    return this.#places.has(name);
  }

  /** Type and shape without touching the data; undefined when there is no such tensor. */
  entry(name: string): SafetensorsEntry | undefined {
    return this.#places.get(name)?.entry;
  }

  header(name: string): SafetensorsEntry {
    return this.#place(name).entry;
  }

  detail(name: string): StoredTensor {
    const { entry, header } = this.#place(name);
    const file = openFile(header.path);
    try {
      const { dtype, shape, offset, sizeBytes } = entry;
      return { name, dtype, shape, data: file.read(offset, sizeBytes) };
    } finally {
      file.close();
    }
  }

  tensor(name: string): StoredTensor {
    const { entry, header } = this.#place(name);
    const data = new Uint8Array(this.#buffer(header), entry.offset, entry.sizeBytes);
    return { name, dtype: entry.dtype, shape: entry.shape, data };
  }

  dropPages(): void {
    for (const file of this.#files.values()) file.dropPages();
  }

  /** Forgets the mapped files; tensors handed out keep theirs alive. */
  close(): void {
    this.#files.clear();
  }

  #place(name: string): { readonly header: SafetensorsHeader; readonly entry: SafetensorsEntry } {
    const place = this.#places.get(name);
    if (place !== undefined) return place;
    throw new MillraceError(
      "tensor_missing",
      `The model's files hold no tensor ${name}. Fetch the model again and check that all shards are there.`,
    );
  }

  #buffer(header: SafetensorsHeader): ArrayBuffer {
    const known = this.#files.get(header.path);
    if (known !== undefined) return known.buffer;
    const file = this.#mapFile(header.path);
    const { buffer } = file;
    if (buffer.byteLength !== header.fileSizeBytes) {
      throw new MillraceError(
        "invalid_model_file",
        `${header.path} had ${header.fileSizeBytes} bytes when its header was read and has ${buffer.byteLength} now. Do not change a model in use; start again.`,
      );
    }
    this.#files.set(header.path, file);
    return buffer;
  }
}

/** The name of an unsharded weight file and of the index of a sharded one, as Hugging Face writes them. */
export const singleFileName = "model.safetensors";
export const indexFileName = "model.safetensors.index.json";

/** True when a folder holds safetensors weights under their usual names. */
export function hasSafetensors(folder: string): boolean {
  return existsSync(path.join(folder, singleFileName)) || existsSync(path.join(folder, indexFileName));
}

/**
 * Opens model.safetensors, or the shards that model.safetensors.index.json names (the single file wins, as in
 * transformers). Throws `file_not_found`, `invalid_model_file`, or `tensor_missing` for a tensor that the index
 * promises and its shard does not hold.
 */
export function openSafetensors(folder: string, mapFile: FileMapper): SafetensorsFiles {
  const single = path.join(folder, singleFileName);
  if (existsSync(single)) return new SafetensorsFiles([readSafetensorsHeader(single)], mapFile);
  const indexPath = path.join(folder, indexFileName);
  const weightMap = readWeightMap(indexPath);
  checkShards(folder, indexPath, new Set(weightMap.map(([, file]) => file)));
  const headers = new Map<string, SafetensorsHeader>();
  for (const [tensor, file] of weightMap) {
    let header = headers.get(file);
    if (header === undefined) headers.set(file, (header = readSafetensorsHeader(path.join(folder, file))));
    if (!header.entries.has(tensor)) {
      throw new MillraceError(
        "tensor_missing",
        `${indexPath} says that ${tensor} is in ${file}, but it is not. Fetch that shard again.`,
      );
    }
  }
  return new SafetensorsFiles([...headers.values()], mapFile);
}

/** Names every shard that is not there. */
function checkShards(folder: string, indexPath: string, files: ReadonlySet<string>): void {
  const missing = [...files].filter((file) => !existsSync(path.join(folder, file)));
  if (missing.length === 0) return;
  const shown =
    missing.slice(0, 5).join(", ") + (missing.length > 5 ? ` and ${missing.length - 5} more` : "");
  throw new MillraceError(
    "file_not_found",
    `${missing.length} of the ${files.size} files that ${indexPath} names are missing: ${shown}. Fetch them again.`,
  );
}

function readWeightMap(indexPath: string): [string, string][] {
  const map = readJsonObject(indexPath)["weight_map"];
  const entries = isJsonObject(map) ? Object.entries(map) : [];
  if (entries.length === 0) {
    throw new MillraceError(
      "invalid_model_file",
      `${indexPath} has no weight_map of tensor names to files. Fetch it again.`,
    );
  }
  return entries.map(([tensor, file]) => {
    // A shard lies beside its index: a path that leads elsewhere is not followed.
    if (typeof file === "string" && file.endsWith(".safetensors") && path.basename(file) === file)
      return [tensor, file];
    throw new MillraceError(
      "invalid_model_file",
      `${indexPath} places ${tensor} in ${JSON.stringify(file)}; it must name a .safetensors file in the same folder. Correct it or fetch it again.`,
    );
  });
}
