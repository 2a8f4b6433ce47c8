import {
  closeSync,
  cpSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { isMillraceError } from "../../src/base/errors.ts";
import type { Checkpoint, TokenizerSource } from "../../src/formats/checkpoint.ts";
import { dequantize } from "../../src/formats/dequantize.ts";
import { readGgufHeader } from "../../src/formats/gguf/header.ts";
import { openCheckpoint } from "../../src/formats/open-checkpoint.ts";
import type { Ops } from "../../src/kernels/ops.ts";
import { createReferenceOps } from "../../src/kernels/reference/reference-ops.ts";
import { loadModel } from "../../src/model/load-model.ts";
import { createTokenizer } from "../../src/tokenizer/create-tokenizer.ts";
import { describeWithData, repositoryPath, testData } from "../test-data.ts";
import { MutationSource } from "./mutations.ts";

// Real headers with a few things changed. Each must be read, or refused by an error of the catalogue; nothing else may
// come out. MILLRACE_FUZZ_RUNS=100000 runs that many in all; a failure names its kind and seed.

const numRuns = Number(process.env["MILLRACE_FUZZ_RUNS"] ?? 4000);
const firstSeed = Number(process.env["MILLRACE_FUZZ_SEED"] ?? 1);
const numKinds = 5;
const timeoutMs = 60_000 + numRuns * 20;

let folder = "";
let ops: Ops;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), "millrace-mutated-"));
  ops = createReferenceOps({ numThreads: 1 });
});
afterAll(() => {
  ops.close();
  rmSync(folder, { recursive: true });
});

/** Runs the cases of a kind and counts how many were read. */
function runAll(
  kind: string,
  run: (mutations: MutationSource) => void,
): { readonly read: number; readonly refused: number } {
  let refused = 0;
  const count = Math.ceil(numRuns / numKinds);
  for (let seed = firstSeed; seed < firstSeed + count; seed += 1) {
    try {
      run(new MutationSource(seed));
    } catch (error) {
      if (!isMillraceError(error)) throw new Error(`${kind}, seed ${seed}`, { cause: error });
      refused += 1;
    }
  }
  return { read: count - refused, refused };
}

/** Both outcomes must have been met, or the mutations are too mild or too strong to say anything. */
function expectBoth({ read, refused }: { readonly read: number; readonly refused: number }): void {
  expect(read).toBeGreaterThan(0);
  expect(refused).toBeGreaterThan(0);
}

/** What a load would touch first. */
function readSome(checkpoint: Checkpoint): void {
  for (const module of ["model.layers.0.self_attn.q_proj", "model.layers.1.mlp.down_proj"])
    if (checkpoint.has(module)) dequantize(checkpoint.linear(module));
  checkpoint.vector("model.norm.weight");
  checkpoint.named();
}

function useTokenizer(source: TokenizerSource): void {
  const tokenizer = createTokenizer(source);
  tokenizer.decode(tokenizer.encode("The 3 cats sat – naïve, 한국어."));
}

/** `header` and zeros behind it, in all `size` bytes. */
function writeSparse(file: string, header: Uint8Array, size: number): void {
  const descriptor = openSync(file, "w");
  try {
    writeSync(descriptor, header);
    ftruncateSync(descriptor, Math.max(header.length, size));
  } finally {
    closeSync(descriptor);
  }
}

describeWithData("a mutated header", () => {
  test("of safetensors is read or refused", { timeout: timeoutMs }, () => {
    const source = testData("models", "compressed-tensors", "w4a16-g32-asym");
    const own = path.join(folder, "safetensors");
    cpSync(path.join(source, "config.json"), path.join(own, "config.json"), { recursive: true });
    const bytes = readFileSync(path.join(source, "model.safetensors"));
    const headerBytes = Number(bytes.readBigUInt64LE(0));
    const json = bytes.toString("utf8", 8, 8 + headerBytes);
    const outcome = runAll("safetensors", (mutations) => {
      const text = mutations.flip() ? mutations.json(json) : json;
      const header = Buffer.from(text.padEnd(headerBytes));
      const length = Buffer.alloc(8);
      length.writeBigUInt64LE(BigInt(header.length));
      const mutated = mutations.bytes(Buffer.concat([length, header]), text === json ? 4 : 0);
      writeFileSync(
        path.join(own, "model.safetensors"),
        Buffer.concat([mutated, bytes.subarray(8 + headerBytes)]),
      );
      readSome(openCheckpoint(own));
    });
    expectBoth(outcome);
  });

  test("of GGUF is read or refused", { timeout: timeoutMs }, () => {
    const source = testData("models", "gguf", "q4_k_m.gguf");
    const bytes = readFileSync(source);
    const dataStart = Math.min(...[...readGgufHeader(source).tensors.values()].map(({ offset }) => offset));
    const file = path.join(folder, "mutated.gguf");
    const outcome = runAll("GGUF", (mutations) => {
      const size = mutations.flip(0.9) ? bytes.length : mutations.below(bytes.length);
      writeSparse(file, mutations.bytes(bytes.subarray(0, dataStart), 4), size);
      const checkpoint = openCheckpoint(file);
      readSome(checkpoint);
      const tokenizer = mutations.flip(0.1) ? checkpoint.tokenizer() : null;
      if (tokenizer !== null) useTokenizer(tokenizer);
    });
    expectBoth(outcome);
  });

  test("of tokenizer.json is read or refused", { timeout: timeoutMs }, () => {
    const own = readFileSync(testData("models", "gguf", "tokenizer.json"), "utf8");
    const outcome = runAll("tokenizer.json", (mutations) => {
      const tokenizerJson = JSON.parse(mutations.json(own)) as Record<string, unknown>;
      useTokenizer({
        origin: "tokenizer.json",
        tokenizerJson,
        tokenizerConfig: {},
        chatTemplate: null,
        generationConfig: null,
      });
    });
    expectBoth(outcome);
  });
});

describe("a mutated config.json", () => {
  test("is read or refused, and so is the model that it describes", { timeout: timeoutMs }, () => {
    const source = repositoryPath("models", "pebble", "model");
    const own = path.join(folder, "config");
    cpSync(path.join(source, "model.safetensors"), path.join(own, "model.safetensors"), { recursive: true });
    const text = readFileSync(path.join(source, "config.json"), "utf8");
    const outcome = runAll("config.json", (mutations) => {
      writeFileSync(
        path.join(own, "config.json"),
        mutations.flip(0.8) ? mutations.json(text) : mutations.bytes(Buffer.from(text), 3),
      );
      const checkpoint = openCheckpoint(own, {
        mapFile: () => ({ buffer: new ArrayBuffer(0), dropPages: () => {} }),
      });
      loadModel(ops, checkpoint, { dtype: "auto", activations: "auto", maxModelLen: 8 });
    });
    expect(outcome.refused).toBeGreaterThan(0);
  });

  test("with a quantisation is read or refused", { timeout: timeoutMs }, () => {
    const source = repositoryPath("models", "pebble", "model");
    const own = path.join(folder, "quantised");
    cpSync(path.join(source, "model.safetensors"), path.join(own, "model.safetensors"), { recursive: true });
    const plain = JSON.parse(readFileSync(path.join(source, "config.json"), "utf8")) as object;
    const weights = { num_bits: 4, type: "int", strategy: "group", group_size: 32, symmetric: true };
    const quantization = [
      {
        quant_method: "compressed-tensors",
        format: "pack-quantized",
        ignore: ["lm_head"],
        config_groups: { group_0: { targets: ["re:.*q_proj", "Linear"], weights, input_activations: null } },
      },
      { quant_method: "gptq", bits: 4, group_size: 32, desc_act: true, checkpoint_format: "gptq" },
      { quant_method: "awq", bits: 4, group_size: 32, version: "gemm" },
      { quant_method: "bitsandbytes", load_in_4bit: true },
      { quant_method: "fp8", weight_block_size: [128, 128], modules_to_not_convert: ["lm_head"] },
    ];
    const outcome = runAll("quantization_config", (mutations) => {
      const changed = JSON.parse(
        mutations.json(JSON.stringify(quantization[mutations.below(quantization.length)])),
      ) as unknown;
      writeFileSync(
        path.join(own, "config.json"),
        JSON.stringify({ ...plain, quantization_config: changed }),
      );
      readSome(openCheckpoint(own));
    });
    expectBoth(outcome);
  });
});
