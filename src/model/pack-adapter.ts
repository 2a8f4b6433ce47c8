import { MillraceError } from "../base/errors.ts";
import type { DenseWeight } from "../base/weights.ts";
import { dequantize } from "../formats/dequantize.ts";
import type { AdapterFile, AdapterModule } from "../formats/peft-adapter.ts";
import type { LowRankDelta } from "../kernels/low-rank-deltas.ts";
import type { LinearWeight, Ops } from "../kernels/ops.ts";
import type { LinearPart, LinearSpec } from "./weight-loader.ts";

/** The linears of a loaded model that adapters can change, with the modules that each is made of. */
export type AdaptableLinears = ReadonlyMap<LinearWeight, LinearSpec>;

/** What a loader has packed, without what does not take the whole batch: tables, and the experts of a mixture. */
export function adaptableOf(linears: AdaptableLinears): AdaptableLinears {
  return new Map([...linears].filter(([, { isTable, isExpert }]) => isTable !== true && isExpert !== true));
}

/**
 * Packs an adapter for the linears of a model. Modules that run as one linear become one delta: their A below each
 * other, their B in blocks, so that the rows of each module get its own product and zeros. Errors: `invalid_adapter`
 * for shapes that are not the model's and values that are not numbers, `unsupported_adapter` for other modules.
 */
export function packAdapter(
  ops: Ops,
  linears: AdaptableLinears,
  adapter: AdapterFile,
): Map<LinearWeight, LowRankDelta> {
  checkModules(linears, adapter);
  const deltas = new Map<LinearWeight, LowRankDelta>();
  try {
    for (const [linear, spec] of linears) {
      if (!spec.parts.some(({ module }) => adapter.modules.has(module))) continue;
      const { a, b } = stackParts(spec, adapter);
      const pack = (weight: DenseWeight, side: string): LinearWeight =>
        ops.packLinear([weight], { name: `${spec.name}.lora_${side}`, inputForm: "f32" });
      deltas.set(linear, { a: pack(a, "A"), b: pack(b, "B") });
    }
    return deltas;
  } catch (error) {
    freeAdapter(ops, deltas);
    throw error;
  }
}

/** Gives back what `packAdapter` took. */
export function freeAdapter(ops: Ops, deltas: ReadonlyMap<LinearWeight, LowRankDelta>): void {
  for (const { a, b } of deltas.values()) {
    ops.freeLinear(a);
    ops.freeLinear(b);
  }
}

/** Bytes that `packAdapter` takes at most, from shapes alone. */
export function adapterBytes(linears: AdaptableLinears, adapter: AdapterFile): number {
  let numValues = 0;
  for (const { parts, cols } of linears.values()) {
    const ranks = parts.map(({ module }) => adapter.modules.get(module)?.a.rows ?? 0);
    const rank = ranks.reduce((sum, own) => sum + own, 0);
    // Packed rows come in whole tiles.
    if (rank > 0)
      numValues += Math.ceil(rank / 16) * 16 * cols + rank * parts.reduce((sum, { rows }) => sum + rows, 16);
  }
  return 4 * numValues;
}

function checkModules(linears: AdaptableLinears, { path, modules }: AdapterFile): void {
  const parts = new Map<string, readonly [part: LinearPart, cols: number]>();
  for (const { parts: own, cols } of linears.values())
    for (const part of own) parts.set(part.module, [part, cols]);
  for (const { module, a, b } of modules.values()) {
    const [part, cols] = parts.get(module) ?? [];
    if (part === undefined) {
      throw new MillraceError(
        "unsupported_adapter",
        `The adapter ${path} changes ${module}, which is no linear of this model's layers. Use an adapter that was made for this model, and not of its embeddings, its head or its experts.`,
      );
    }
    const rows = part.slice?.total ?? part.rows;
    if (a.cols === cols && b.rows === rows) continue;
    throw new MillraceError(
      "invalid_adapter",
      `The adapter ${path} has lora_A [${a.rows}, ${a.cols}] and lora_B [${b.rows}, ${b.cols}] for ${module}, which is [${rows}, ${cols}] in this model. Use an adapter that was made for this model.`,
    );
  }
}

function stackParts(
  { parts, cols }: LinearSpec,
  { modules, path }: AdapterFile,
): Record<"a" | "b", DenseWeight> {
  const own = parts.map((part) => ({ part, adapter: modules.get(part.module) }));
  const rank = own.reduce((sum, { adapter }) => sum + (adapter?.a.rows ?? 0), 0);
  const rows = own.reduce((sum, { part }) => sum + part.rows, 0);
  const a = new Float32Array(rank * cols);
  const b = new Float32Array(rows * rank);
  let [firstRow, firstRank] = [0, 0];
  for (const { part, adapter } of own) {
    if (adapter !== undefined) {
      a.set(finite(adapter.a, adapter.module, path), firstRank * cols);
      setBlock(b, finite(adapter.b, adapter.module, path), adapter, part, { rank, firstRow, firstRank });
      firstRank += adapter.a.rows;
    }
    firstRow += part.rows;
  }
  return { a: denseOf(a, rank, cols), b: denseOf(b, rows, rank) };
}

/** Puts the rows of a module's B that a part has, times its scale, at their place. */
function setBlock(
  b: Float32Array,
  values: Float32Array,
  { b: { cols }, scale }: AdapterModule,
  { rows, slice }: LinearPart,
  at: { readonly rank: number; readonly firstRow: number; readonly firstRank: number },
): void {
  const first = (slice?.first ?? 0) * cols;
  for (let row = 0; row < rows; row += 1) {
    const start = (at.firstRow + row) * at.rank + at.firstRank;
    for (let r = 0; r < cols; r += 1) b[start + r] = scale * values[first + row * cols + r]!;
  }
}

function finite(weight: DenseWeight, module: string, path: string): Float32Array {
  const values = dequantize(weight);
  if (values.every(Number.isFinite)) return values;
  throw new MillraceError(
    "invalid_adapter",
    `The adapter ${path} has values for ${module} that are not finite numbers. Fetch it again, or train it anew.`,
  );
}

function denseOf(values: Float32Array, rows: number, cols: number): DenseWeight {
  return { kind: "dense", rows, cols, dtype: "f32", data: new Uint8Array(values.buffer) };
}
