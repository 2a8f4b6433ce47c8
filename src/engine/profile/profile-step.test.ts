import { expect, it } from "vitest";
import { createOps } from "../../kernels/create-ops.ts";
import type { Ops } from "../../kernels/ops.ts";
import type { Operation } from "../../kernels/profiled-ops.ts";
import { profileOps } from "../../kernels/profiled-ops.ts";
import type { CausalModel } from "../../model/causal-model.ts";
import { profileSteps } from "./profile-step.ts";

const ceilings = {
  readBytes: 1e6,
  int8Operations: 1e9,
  int4Operations: 2e9,
  bf16Operations: 5e8,
  f32Operations: 1e8,
};

/** One attention block and a head, enough for every kind of cost. */
function tinyModel(ops: Ops): CausalModel {
  const [vocabSize, hiddenSize] = [40, 32];
  const shape = { numHeads: 2, numKvHeads: 1, headDim: 16 };
  const dense = (name: string, rows: number, cols: number) =>
    ops.packLinear([{ kind: "dense", dtype: "f32", rows, cols, data: new Uint8Array(rows * cols * 4) }], {
      name,
      inputForm: "f32",
    });
  const table = dense("model.embed_tokens", vocabSize, hiddenSize);
  const qkv = dense("model.layers.0.self_attn.qkv_proj", 64, hiddenSize);
  const norm = ops.loadVector(new Float32Array(hiddenSize).fill(1));
  return {
    vocabSize,
    hiddenSize,
    kvShape: { numLayers: 1, numKvHeads: 1, headDim: 16 },
    head: table,
    logitSoftCap: 0,
    forward(cache) {
      const x = ops.embed(table);
      const mixed = ops.linear(x, qkv);
      ops.ropeAndCache(mixed, null, cache, 0, shape);
      ops.addInto(x, ops.pagedAttention(mixed, cache, 0, { ...shape, scale: 0.25 }, "f32"));
      return x;
    },
    finalNorm: (hidden, rows, count) => ops.rmsNorm(ops.gatherRows(hidden, rows, count), norm, 1e-5, "f32"),
    logits: (normed) => ops.linear(normed, table),
  };
}

it("counts the operations of a step and what each must read and multiply", () => {
  const { ops } = createOps({ backend: "reference", numThreads: 1 });
  const [step] = profileSteps({
    ops,
    ceilings,
    shapes: [{ label: "decode", numSequences: 3, numTokens: 1, contextLength: 40 }],
    numRepeats: 2,
    load: (profiled) => ({ model: tinyModel(profiled), kvDtype: "f16" }),
  });
  ops.close();
  const kinds = new Map(step!.kinds.map((kind) => [kind.kind, kind]));
  expect([...kinds.keys()].toSorted()).toEqual(
    ["addInto", "between operations", "embed", "gatherRows", "lm_head", "pagedAttention", "qkv_proj"].concat([
      "rmsNorm",
      "ropeAndCache",
      "sample",
    ]),
  );
  expect(step!.numOperations).toBe(9);
  // Weights once: 64 · 32 f32; three rows of it.
  expect(kinds.get("qkv_proj")).toMatchObject({ count: 1, bytes: 64 * 32 * 4, operations: 2 * 3 * 64 * 32 });
  expect(kinds.get("qkv_proj")!.rooflineSeconds).toBeCloseTo((64 * 32 * 4) / 1e6, 9);
  // K and V of 40 tokens of three sequences in f16; two heads see them.
  expect(kinds.get("pagedAttention")).toMatchObject({
    bytes: 2 * 3 * 40 * 16 * 2,
    operations: 4 * 3 * 40 * 2 * 16,
  });
  const sum = step!.kinds.reduce((total, kind) => total + kind.seconds, 0);
  expect(sum).toBeCloseTo(step!.seconds, 6);
});

it("counts only the window of a sliding-window layer", () => {
  const { ops } = createOps({ backend: "reference", numThreads: 1 });
  const seen: Operation[] = [];
  const profiled = profileOps(ops, (operation) => seen.push(operation));
  const shape = { numHeads: 1, numKvHeads: 1, headDim: 16 };
  const cache = profiled.createKvCache({ numLayers: 1, numBlocks: 2, blockSize: 32, ...shape, dtype: "f32" });
  const table = profiled.packLinear(
    [{ kind: "dense", dtype: "f32", rows: 2, cols: 48, data: new Uint8Array(2 * 48 * 4) }],
    { name: "t", inputForm: "f32" },
  );
  profiled.beginStep({
    numTokens: 2,
    numSeqs: 1,
    tokenIds: Int32Array.of(0, 1),
    positions: Int32Array.of(38, 39),
    slots: Int32Array.of(38, 39),
    queryStarts: Int32Array.of(0, 2),
    contextLengths: Int32Array.of(40),
    blockTables: Int32Array.of(0, 1),
    blockTableStride: 2,
  });
  const qkv = profiled.embed(table);
  profiled.pagedAttention(qkv, cache, 0, { ...shape, scale: 1, slidingWindow: 8 }, "f32");
  profiled.endStep();
  ops.close();
  expect(seen.at(-1)).toMatchObject({ operations: 4 * 16 * 16, bytes: 2 * 9 * 16 * 4 });
});
