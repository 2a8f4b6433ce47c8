import { cpSync, mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { widenFloats } from "../src/formats/dequantize.ts";
import { randomFloats } from "../src/kernels/native/test-batches.ts";
import { readTensors } from "./golden/golden-files.ts";

/** A tensor of a safetensors file, as float32. */
export interface FloatTensor {
  readonly shape: readonly number[];
  readonly values: Float32Array;
}

type FloatTensors = ReadonlyMap<string, FloatTensor>;

/** What of an adapter a test chooses; the rest is as PEFT's defaults. */
export interface AdapterChoice {
  /** Ends of the names of the modules that it changes. */
  readonly targets: readonly string[];
  readonly rank: number;
  readonly alpha: number;
  readonly seed: number;
  /** Keys of adapter_config.json beside or in place of the usual ones. */
  readonly config?: Readonly<Record<string, unknown>>;
  /** Changes the tensors before they are written. */
  readonly change?: (tensors: Map<string, FloatTensor>) => void;
}

export const attentionTargets: readonly string[] = ["q_proj", "k_proj", "v_proj", "o_proj"];
export const mlpTargets: readonly string[] = ["gate_proj", "up_proj", "down_proj"];

/** Writes an adapter of random values for the model in `modelFolder`, as PEFT would. Returns `folder`. */
export function writeAdapter(modelFolder: string, folder: string, choice: AdapterChoice): string {
  const { targets, rank, alpha, seed, config = {}, change } = choice;
  const tensors = new Map<string, FloatTensor>();
  let next = seed * 1000;
  for (const [name, { shape }] of readFloats(path.join(modelFolder, "model.safetensors"))) {
    const module = name.replace(/\.weight$/, "");
    if (!targets.some((target) => module.endsWith(`.${target}`))) continue;
    const [rows, cols] = shape as [number, number];
    const random = (count: number, scale: number): Float32Array => randomFloats(count, next++, scale);
    const prefix = `base_model.model.${module}`;
    tensors.set(`${prefix}.lora_A.weight`, {
      shape: [rank, cols],
      values: random(rank * cols, 1 / Math.sqrt(cols)),
    });
    tensors.set(`${prefix}.lora_B.weight`, { shape: [rows, rank], values: random(rows * rank, 0.3) });
  }
  change?.(tensors);
  mkdirSync(folder, { recursive: true });
  const usual = { peft_type: "LORA", r: rank, lora_alpha: alpha, bias: "none", target_modules: targets };
  writeFileSync(path.join(folder, "adapter_config.json"), JSON.stringify({ ...usual, ...config }));
  writeTensors(path.join(folder, "adapter_model.safetensors"), tensors);
  return folder;
}

/**
 * Writes the model with the adapter added to its weights, W + scale · B · A summed in f64, as float32. Returns `folder`.
 *
 * @param scale of the module with this name; lora_alpha / r unless an adapter says otherwise
 */
export function mergeAdapter(
  modelFolder: string,
  adapterFolder: string,
  folder: string,
  scale: (module: string) => number,
): string {
  const merged = new Map(readFloats(path.join(modelFolder, "model.safetensors")));
  const adapter = readFloats(path.join(adapterFolder, "adapter_model.safetensors"));
  for (const [name, a] of adapter) {
    if (!name.endsWith(".lora_A.weight")) continue;
    const module = name.replace("base_model.model.", "").replace(".lora_A.weight", "");
    const b = adapter.get(name.replace("lora_A", "lora_B"))!;
    const { shape, values } = merged.get(`${module}.weight`)!;
    merged.set(`${module}.weight`, { shape, values: addProduct(values, a, b, scale(module)) });
  }
  cpSync(modelFolder, folder, { recursive: true });
  writeTensors(path.join(folder, "model.safetensors"), merged);
  return folder;
}

function addProduct(values: Float32Array, a: FloatTensor, b: FloatTensor, scale: number): Float32Array {
  const [rank, cols] = a.shape as [number, number];
  return values.map((value, i) => {
    const [row, col] = [Math.floor(i / cols), i % cols];
    let sum = 0;
    for (let r = 0; r < rank; r += 1) sum += b.values[row * rank + r]! * a.values[r * cols + col]!;
    return value + scale * sum;
  });
}

function readFloats(file: string): FloatTensors {
  const tensors = readTensors(file).map(({ name, dtype, shape, data }) => {
    const values = widenFloats(data, dtype === "BF16" ? "bf16" : "f32");
    return [name, { shape, values }] as const;
  });
  return new Map(tensors);
}

function writeTensors(file: string, tensors: FloatTensors): void {
  const header: Record<string, object> = {};
  const parts: Uint8Array[] = [];
  let offset = 0;
  for (const [name, { shape, values }] of tensors) {
    header[name] = { dtype: "F32", shape, data_offsets: [offset, offset + values.byteLength] };
    parts.push(new Uint8Array(values.slice().buffer));
    offset += values.byteLength;
  }
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  writeFileSync(file, Buffer.concat([length, text, ...parts]));
}
