import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { buildGguf, type GgufEntry, type GgufTensorEntry, u32 } from "../../../tests/gguf-builder.ts";
import { describeWithData, testData } from "../../../tests/test-data.ts";
import type { Checkpoint } from "../checkpoint.ts";
import { dequantize } from "../dequantize.ts";
import { openCheckpoint } from "../open-checkpoint.ts";
import { readGgufHeader } from "./header.ts";
import { ggmlTypeNumber } from "./tensor-types.ts";

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), "millrace-split-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

const whole = (): string => testData("models", "gguf", "q4_k_m.gguf");

/** What the recorded file says of itself, as entries to write. */
function metadataOf(file: string): Record<string, GgufEntry> {
  const entries: Record<string, GgufEntry> = {};
  for (const [key, value] of readGgufHeader(file).metadata) {
    if (typeof value === "string") entries[key] = { type: "string", value };
    else if (typeof value === "number")
      entries[key] = { type: Number.isInteger(value) && !key.includes("freq") ? "u32" : "f32", value };
  }
  return entries;
}

/** The parts of a model that llama-gguf-split would make: metadata in the first, tensors in turn. */
function writeParts(
  name: string,
  change: (part: Record<string, GgufEntry>, index: number) => void = () => {},
) {
  const bytes = readFileSync(whole());
  const tensors = [...readGgufHeader(whole()).tensors.values()].map(
    (tensor): GgufTensorEntry => ({
      name: tensor.name,
      dims: tensor.shape.toReversed(),
      type: ggmlTypeNumber(tensor.type.name),
      data: bytes.subarray(tensor.offset, tensor.offset + tensor.sizeBytes),
    }),
  );
  const place = path.join(folder, name);
  mkdirSync(place);
  for (let index = 0; index < 3; index += 1) {
    const metadata: Record<string, GgufEntry> = {
      ...(index === 0 ? metadataOf(whole()) : {}),
      "split.no": u32(index),
      "split.count": u32(3),
      "split.tensors.count": u32(tensors.length),
    };
    change(metadata, index);
    const own = tensors.filter((_, tensor) => tensor % 3 === index);
    writeFileSync(
      path.join(place, `m-0000${index + 1}-of-00003.gguf`),
      buildGguf({ metadata, tensors: own }),
    );
  }
  return place;
}

describeWithData("a split GGUF model", () => {
  it("is read from its folder or any part, and holds what the whole file holds", () => {
    const place = writeParts("good");
    const expected = openCheckpoint(whole());
    for (const source of [
      place,
      path.join(place, "m-00001-of-00003.gguf"),
      path.join(place, "m-00003-of-00003.gguf"),
    ]) {
      const checkpoint = openCheckpoint(source);
      const sorted = (list: readonly { readonly name: string }[]): string[] =>
        list.map(({ name }) => name).toSorted();
      expect(sorted(checkpoint.named())).toEqual(sorted(expected.named()));
      expect(checkpoint.config.numLayers).toBe(expected.config.numLayers);
      for (const module of [
        "model.embed_tokens",
        "model.layers.0.self_attn.q_proj",
        "model.layers.1.mlp.down_proj",
      ]) {
        const values = (source: Checkpoint): Buffer => Buffer.from(dequantize(source.linear(module)).buffer);
        expect(values(checkpoint).equals(values(expected)), module).toBe(true);
      }
      expect(checkpoint.vector("model.norm.weight")).toEqual(expected.vector("model.norm.weight"));
    }
  });

  it("is refused with a part missing, swapped, renamed or from another model", () => {
    const missing = writeParts("missing");
    rmSync(path.join(missing, "m-00002-of-00003.gguf"));
    expect(() => openCheckpoint(missing)).toThrow(
      /m-00002-of-00003.gguf is not there; the model has 3 parts/,
    );
    const swapped = writeParts("swapped", (part, index) => {
      part["split.no"] = u32([0, 2, 1][index]!);
    });
    expect(() => openCheckpoint(swapped)).toThrow(/says that it is part 3 of 3; its name says 2 of 3/);
    const other = writeParts("other", (part) => {
      part["split.tensors.count"] = u32(99);
    });
    expect(() => openCheckpoint(other)).toThrow(/hold 99 tensors; they hold/);
    const renamed = path.join(folder, "model.gguf");
    writeFileSync(renamed, readFileSync(path.join(other, "m-00001-of-00003.gguf")));
    expect(() => openCheckpoint(renamed)).toThrow(/must be called NAME-00001-of-00003.gguf/);
  });
});
