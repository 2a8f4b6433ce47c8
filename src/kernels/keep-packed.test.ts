import { expect, test } from "vitest";
import type { DenseWeight } from "../base/weights.ts";
import { createOps } from "./create-ops.ts";
import { keepPacked } from "./keep-packed.ts";

function weight(): DenseWeight {
  return { kind: "dense", rows: 16, cols: 32, dtype: "f32", data: new Uint8Array(16 * 32 * 4) };
}

test("a linear of the same parts, name and options is packed once; a change in one of them packs another", () => {
  const { ops } = createOps({ numThreads: 1, backend: "reference" });
  const keeping = keepPacked(ops);
  const [a, b] = [weight(), weight()];
  const options = { name: "x", inputForm: "f32" } as const;
  const first = keeping.packLinear([a], options);
  expect(keeping.packLinear([a], options)).toBe(first);
  for (const other of [
    keeping.packLinear([b], options),
    keeping.packLinear([a, a], options),
    keeping.packLinear([a], { ...options, name: "y" }),
    keeping.packLinear([a], { ...options, inputForm: "bf16" }),
  ])
    expect(other).not.toBe(first);
  expect(keeping.packLinear([a], options)).toBe(first);
  ops.close();
});
