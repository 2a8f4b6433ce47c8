import { afterEach, describe, expect, it } from "vitest";
import type { IntegerWeight } from "../../base/weights.ts";
import { createOps, nativeStatus } from "../create-ops.ts";
import type { Ops, Tensor, TensorForm } from "../ops.ts";
import { createReferenceOps } from "../reference/reference-ops.ts";
import { f32Weight, makeBatch, randomFloats } from "./test-batches.ts";

const rows = 48;
const cols = 96;
const numTokens = 19;

/** A permutation without pattern. */
const columns = Int32Array.from({ length: cols }, (_, i) => (i * 35 + 11) % cols);

const weight: IntegerWeight = {
  kind: "integer",
  rows,
  cols,
  bits: 4,
  groupSize: 32,
  codes: Uint8Array.from({ length: (rows * cols) / 2 }, (_, i) => (i * 37) & 255),
  scales: randomFloats((rows * cols) / 32, 3, 0.1),
  minimums: null,
  activations: "unspecified",
};

const backends: readonly (readonly [string, () => Ops])[] = [
  ["reference", () => createReferenceOps({ numThreads: 1 })],
  ...nativeStatus().isas.map(
    (isa) => [isa, () => createOps({ numThreads: 2, backend: "native", isa }).ops] as const,
  ),
];

let ops: Ops | undefined;
afterEach(() => ops?.close());

describe.each(backends)("a linear whose columns are in another order, on %s", (_name, create) => {
  it.each(["f32", "int8-token", "int8-block32"] as const)(
    "gives the bits of the linear in order on gathered columns, with %s activations",
    (form: TensorForm) => {
      ops = create();
      const values = randomFloats(numTokens * cols, 1);
      const gathered = Float32Array.from(
        values,
        (_, i) => values[Math.floor(i / cols) * cols + columns[i % cols]!]!,
      );
      const inOrder = ops.packLinear([weight], { name: "in order", inputForm: form });
      const reordered = ops.packLinear([weight], { name: "reordered", inputForm: form, columns });
      expect(reordered).toMatchObject({ inputForm: "f32", gatheredForm: form });
      const embed = (own: Ops, table: Float32Array): Tensor =>
        own.embed(
          own.packLinear([f32Weight(table, numTokens, cols)], { name: "x", inputForm: "f32" }),
          Int32Array.from({ length: numTokens }, (_, i) => i),
        );
      ops.beginStep(makeBatch([{ start: 0, count: numTokens, blocks: [0] }], numTokens));
      const y = ops.linear(embed(ops, values), reordered);
      const expected = ops.linear(ops.convert(embed(ops, gathered), form), inOrder);
      const out = [y, expected].map((tensor) => {
        const into = new Float32Array(numTokens * rows);
        ops!.read(tensor, into);
        return into;
      });
      ops.endStep();
      expect(out[0]).toEqual(out[1]);
    },
  );
});
