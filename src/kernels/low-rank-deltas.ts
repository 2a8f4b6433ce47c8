import type { LinearEpilogue, LinearWeight, Ops, Tensor, WeightedRows } from "./ops.ts";

/** What an adapter adds to a linear: y += (x · Aᵀ) · Bᵀ (LoRA; Hu et al. 2021), its scale being part of B. */
export interface LowRankDelta {
  /** [rank, cols of the linear], takes f32. */
  readonly a: LinearWeight;
  /** [rows of the linear, rank], takes f32. */
  readonly b: LinearWeight;
}

/** Rows of a step's batch that one adapter changes. */
export interface AdaptedRows extends WeightedRows {
  /** Of the linears that the adapter changes. Each of them takes the whole batch. */
  readonly deltas: ReadonlyMap<LinearWeight, LowRankDelta>;
  /** The first `count` of `rows`, which ascend; their weights are 1. */
  readonly count: number;
}

/**
 * An `Ops` whose linears add the deltas of `adapted`, which is read at each call: several adapters in one batch, each
 * on its own rows. All other rows come out as without, to the bit: they go through the same operations one by one that
 * are else done while a result is in registers.
 */
export function addLowRankDeltas(ops: Ops, adapted: readonly AdaptedRows[]): Ops {
  const linear = (x: Tensor, weight: LinearWeight, epilogue: LinearEpilogue = {}): Tensor => {
    if (!adapted.some(({ deltas }) => deltas.has(weight))) return ops.linear(x, weight, epilogue);
    const { activation, as = "f32", ...plain } = epilogue;
    const out = ops.linear(x, weight, plain);
    for (const group of adapted) {
      const delta = group.deltas.get(weight);
      if (delta === undefined) continue;
      const own = ops.convert(ops.gatherRows(x, group.rows, group.count), "f32");
      ops.addRows(out, ops.linear(ops.linear(own, delta.a), delta.b), group, group.count);
    }
    const result = activation === undefined ? out : ops.gate(out, activation);
    return as === "f32" ? result : ops.convert(result, as);
  };
  const wrapped = new Map<PropertyKey, unknown>([["linear", linear]]);
  return new Proxy(ops, {
    get(target, property) {
      if (wrapped.has(property)) return wrapped.get(property);
      const value: unknown = Reflect.get(target, property, target);
      if (typeof value !== "function") return value;
      const method: unknown = value.bind(target);
      wrapped.set(property, method);
      return method;
    },
  });
}
