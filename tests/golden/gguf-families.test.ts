import { createHash } from "node:crypto";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { convertToGguf } from "../../src/convert/to-gguf.ts";
import { readGgufHeader } from "../../src/formats/gguf/header.ts";
import { ggmlTypeNumber } from "../../src/formats/gguf/tensor-types.ts";
import { openCheckpoint } from "../../src/formats/open-checkpoint.ts";
import type { Ops } from "../../src/kernels/ops.ts";
import { createReferenceOps } from "../../src/kernels/reference/reference-ops.ts";
import { listModelParts } from "../../src/quantize/model-parts.ts";
import { buildGguf, type GgufEntry } from "../gguf-builder.ts";
import { describeWithData, repositoryPath, testData } from "../test-data.ts";
import { readFloatTensors, readJson, relativeError } from "./golden-files.ts";
import { openModel, promptLogits } from "./model-runs.ts";

// Metadata, and a digest of all tensors, of the tiny models as llama.cpp's converter (convert_hf_to_gguf.py of August
// 2026, BF16) wrote them. The test makes the same tensors again, so that no file has to be kept.

interface Recorded {
  readonly metadata: Readonly<Record<string, GgufEntry>>;
  readonly tensorsSha256: string;
  /** Llama 3's scaling travels as a divisor for each frequency. */
  readonly ropeFreqs?: readonly number[];
}
interface Golden {
  readonly prompts: readonly { readonly prompt: readonly number[] }[];
}

const recorded = readJson<Record<string, Recorded>>(
  repositoryPath("tests", "golden", "recorded", "gguf-families.json"),
);

describeWithData("GGUF files of every family as llama.cpp converts them", () => {
  let folder = "";
  let ops: Ops;
  beforeAll(() => {
    folder = mkdtempSync(path.join(tmpdir(), "millrace-gguf-"));
    ops = createReferenceOps({ numThreads: 1 });
  });
  afterAll(() => {
    ops.close();
    rmSync(folder, { recursive: true });
  });

  describe.each(Object.keys(recorded))("%s", (name) => {
    const source = testData("models", "tiny", name);
    const file = (): string => path.join(folder, `${name}.gguf`);

    test("is converted to the tensors of llama.cpp's converter, to the byte", async () => {
      const checkpoint = openCheckpoint(source);
      await convertToGguf(checkpoint, {
        outPath: file(),
        dtype: "auto",
        tokenizer: null,
        maxShardBytes: null,
      });
      checkpoint.close();
      const { ropeFreqs, tensorsSha256 } = recorded[name]!;
      expect(digestOf(file(), ropeFreqs)).toBe(tensorsSha256);
    });

    test("is converted with all metadata of llama.cpp's converter", () => {
      const { metadata } = readGgufHeader(file());
      for (const [key, { value }] of Object.entries(recorded[name]!.metadata)) {
        // llama.cpp writes these two where they say nothing: a window of 0, and a length that no scaling uses.
        if (key === "phi3.attention.sliding_window") continue;
        if (key === "phi3.rope.scaling.original_context_length") continue;
        expect(metadata.get(key), key).toBe(value);
      }
    });

    test("gives the logits of the safetensors folder", () => {
      const { prompts } = readJson<Golden>(`${source}/golden.json`);
      const loaded = openModel(ops, file());
      // llama.cpp takes Gemma 2's scale of scores from the head width; the recorded model has another one.
      const reference = name === "gemma2" ? openModel(ops, withHeadScale(source, folder)) : null;
      const expected = readFloatTensors(`${source}/golden.safetensors`);
      for (const [index, { prompt }] of prompts.entries()) {
        const logits = promptLogits(ops, loaded, prompt);
        const wanted =
          reference === null ? expected.get(`prompt${index}.logits`)! : promptLogits(ops, reference, prompt);
        expect(relativeError(logits, wanted)).toBeLessThan(1e-4);
      }
    });

    test("names every tensor as the safetensors folder does", () => {
      const [gguf, folderOf] = [file(), source].map((place) => {
        const checkpoint = openCheckpoint(place);
        const parts = listModelParts(checkpoint);
        checkpoint.close();
        return parts;
      });
      expect(gguf).toEqual(folderOf);
    });
  });

  test("an architecture with experts that the family does not have is refused by name", () => {
    const metadata = { ...recorded["llama"]!.metadata };
    const entries = Object.entries(metadata).map(([key, entry]): [string, GgufEntry] => [
      key.replace("llama.", "gemma2."),
      key === "general.architecture" ? { type: "string", value: "gemma2" } : entry,
    ]);
    entries.push(["gemma2.expert_count", { type: "u32", value: 8 }]);
    const place = path.join(folder, "experts.gguf");
    writeFileSync(place, buildGguf({ metadata: entries, tensors: [] }));
    expect(() => openCheckpoint(place)).toThrow(/general.architecture gemma2 with 8 experts.*qwen3moe/);
  });
});

/**
 * sha256 over the tensors in name order: name, dimensions and type as a line, then the bytes. Divisors of RoPE
 * frequencies come from a power function, whose last bit is not everyone's: they are compared as numbers.
 */
function digestOf(file: string, ropeFreqs: readonly number[] | undefined): string {
  const bytes = readFileSync(file);
  const hash = createHash("sha256");
  const { tensors } = readGgufHeader(file);
  for (const { name, shape, type, offset, sizeBytes } of [...tensors.values()].toSorted((a, b) =>
    a.name < b.name ? -1 : 1,
  )) {
    let data = Uint8Array.from(bytes.subarray(offset, offset + sizeBytes));
    if (name === "rope_freqs.weight") {
      const own = new Float32Array(data.buffer);
      for (const [i, value] of own.entries()) expect(value / ropeFreqs![i]!).toBeCloseTo(1, 6);
      data = new Uint8Array(Float32Array.from(ropeFreqs!).buffer);
    }
    hash.update(`${name} ${shape.toReversed().join(",")} ${ggmlTypeNumber(type.name)}\n`).update(data);
  }
  return hash.digest("hex");
}

function withHeadScale(source: string, folder: string): string {
  const copy = path.join(folder, "gemma2-scale");
  cpSync(source, copy, { recursive: true });
  const config = JSON.parse(readFileSync(path.join(source, "config.json"), "utf8")) as object;
  rmSync(path.join(copy, "config.json"), { force: true });
  writeFileSync(path.join(copy, "config.json"), JSON.stringify({ ...config, query_pre_attn_scalar: 32 }));
  return copy;
}
