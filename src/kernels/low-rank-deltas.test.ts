import { afterAll, describe, expect, test } from "vitest";
import { loadAddon } from "./addon.ts";
import { type AdaptedRows, addLowRankDeltas, type LowRankDelta } from "./low-rank-deltas.ts";
import { createNativeOps } from "./native/native-ops.ts";
import { f32Weight, randomFloats, relativeError, runOnRows } from "./native/test-batches.ts";
import type { LinearEpilogue, LinearWeight, Ops, Tensor, TensorForm } from "./ops.ts";
import { createReferenceOps } from "./reference/reference-ops.ts";

const { addon } = loadAddon();
const [numRows, cols, outs, rank] = [13, 64, 64, 5];
const values = randomFloats(numRows * cols, 1, 2);

const backends: [name: string, ops: Ops][] = [
  ["reference", createReferenceOps({ numThreads: 1 })],
  ...(addon?.listIsas() ?? []).map((isa): [string, Ops] => [
    isa,
    createNativeOps(addon!, { isa, numThreads: 2 }),
  ]),
];

interface Kind {
  readonly form: TensorForm;
  /** Of what comes out, with a gated activation before it. */
  readonly as?: TensorForm;
  readonly hasResidual?: boolean;
}

const kinds: readonly Kind[] = [
  { form: "f32" },
  { form: "f32", hasResidual: true },
  { form: "f32", as: "f32" },
  { form: "bf16", as: "bf16" },
  { form: "int8-token", hasResidual: true },
  { form: "int8-block32", as: "int8-block32" },
];

afterAll(() => {
  for (const [, ops] of backends) ops.close();
});

describe.each(backends)("low-rank deltas on %s", (_, ops) => {
  const pack = (seed: number, rows: number, width: number): LinearWeight =>
    ops.packLinear([f32Weight(randomFloats(rows * width, seed), rows, width)], {
      name: "w",
      inputForm: "f32",
    });
  const adapters = [2, 3, 4].map(
    (seed): LowRankDelta => ({
      a: pack(seed, rank, cols),
      b: pack(10 + seed, 2 * outs, rank),
    }),
  );

  /** A linear of `kind`, and what runs it with `adapted` on the given rows of the values. */
  function makeLinear({ form, as, hasResidual = false }: Kind): {
    readonly weight: LinearWeight;
    readonly run: (adapted: readonly AdaptedRows[], rows?: Float32Array) => Float32Array;
  } {
    const parts = [5, 6].map((seed) =>
      form === "bf16" || form === "f32"
        ? f32Weight(randomFloats(outs * cols, seed), outs, cols)
        : {
            kind: "integer" as const,
            rows: outs,
            cols,
            bits: 8 as const,
            groupSize: 32,
            codes: new Uint8Array(randomFloats(outs * cols, seed).map((x) => 128 + 127 * x)),
            scales: randomFloats((outs * cols) / 32, seed + 20, 0.01),
            minimums: null,
            activations: "unspecified" as const,
          },
    );
    const weight = ops.packLinear(parts, { name: "base", inputForm: form, layout: as ? "paired" : "rows" });
    const bias = ops.loadVector(randomFloats(2 * outs, 7));
    const epilogue = (x: Tensor): LinearEpilogue => {
      if (as !== undefined) return { bias, activation: "silu-mul", as };
      return hasResidual ? { bias, residual: ops.linear(x, adapters[0]!.b) } : { bias };
    };
    const run = (adapted: readonly AdaptedRows[], rows: Float32Array = values): Float32Array => {
      const both = addLowRankDeltas(ops, adapted);
      return runOnRows(ops, rows, cols, (x) => {
        // Something of the right width to add to; its values do not matter.
        const first = ops.linear(x, adapters[0]!.a);
        const out = both.linear(ops.convert(x, form), weight, epilogue(first));
        return ops.convert(out, "f32");
      });
    };
    return { weight, run };
  }

  function onRows(weight: LinearWeight, delta: LowRankDelta, rows: readonly number[]): AdaptedRows {
    return {
      deltas: new Map([[weight, delta]]),
      rows: Int32Array.from(rows),
      weights: new Float32Array(rows.length).fill(1),
      count: rows.length,
    };
  }

  test.each(kinds)("each row is as alone, with others beside it, to the bit: %o", (kind) => {
    const { weight, run } = makeLinear(kind);
    const rowsOf = [[0, 4, 5, 12], [2], [1, 3, 8, 9, 10]];
    const mixed = run(rowsOf.map((rows, i) => onRows(weight, adapters[i]!, rows)));
    const width = mixed.length / numRows;
    let numChanged = 0;
    for (let row = 0; row < numRows; row += 1) {
      const adapter = rowsOf.findIndex((rows) => rows.includes(row));
      const own = values.slice(row * cols, (row + 1) * cols);
      const alone = run(adapter === -1 ? [] : [onRows(weight, adapters[adapter]!, [0])], own);
      expect(mixed.subarray(row * width, (row + 1) * width)).toEqual(alone);
      if (adapter !== -1 && run([], own).some((x, i) => x !== alone[i])) numChanged += 1;
    }
    expect(numChanged).toBe(10);
  });

  test("a row has what the merged weight gives it", () => {
    const { weight, run } = makeLinear({ form: "f32" });
    const actual = run([
      onRows(
        weight,
        adapters[1]!,
        Array.from({ length: numRows }, (_, row) => row),
      ),
    ]);
    const base = [5, 6].map((seed) => randomFloats(outs * cols, seed));
    const [a, b, bias] = [
      randomFloats(rank * cols, 3),
      randomFloats(2 * outs * rank, 13),
      randomFloats(2 * outs, 7),
    ];
    const expected = new Float32Array(numRows * 2 * outs);
    for (let row = 0; row < numRows; row += 1) {
      for (let n = 0; n < 2 * outs; n += 1) {
        let sum = bias[n]!;
        for (let k = 0; k < cols; k += 1) {
          let w = base[Math.floor(n / outs)]![(n % outs) * cols + k]!;
          for (let r = 0; r < rank; r += 1) w += b[n * rank + r]! * a[r * cols + k]!;
          sum += w * values[row * cols + k]!;
        }
        expected[row * 2 * outs + n] = sum;
      }
    }
    expect(relativeError(actual, expected)).toBeLessThan(2e-6);
  });
});
