import type { OperationUnit } from "./ceilings.ts";
import type { AttentionOptions, KvCache, LinearWeight, Ops, RaggedBatch, Tensor, TensorForm } from "./ops.ts";

/** The least that an operation has to do. */
interface OperationWork {
  /** Name for people: the last part of a linear's name, "lm_head" for the head, or the method of `Ops`. */
  readonly kind: string;
  /** Bytes that must come from memory once: weights, and K and V. Activations stay in caches and count nothing. */
  readonly bytes: number;
  /** Multiplications and additions, and which ceiling bounds them. */
  readonly operations: number;
  readonly unit: OperationUnit;
}

/** One operation of a step. */
export interface Operation extends OperationWork {
  readonly seconds: number;
}

type Method = (...args: never[]) => unknown;

/** Methods that run kernels within a step. */
const timed: ReadonlySet<string> = new Set<keyof Ops>([
  "embed",
  "rmsNorm",
  "layerNorm",
  "linear",
  "gate",
  "convert",
  "addInto",
  "scale",
  "softCap",
  "gelu",
  "ropeAndCache",
  "pagedAttention",
  "gatherRows",
  "moeRoute",
  "addRows",
  "sample",
  "scoreTargets",
  "diverge",
]);

/**
 * An `Ops` that tells `onOperation` what each operation took. Both backends work eagerly, so that a call ends when its
 * kernels have. Nothing else changes; without this decorator nothing is timed.
 */
export function profileOps(ops: Ops, onOperation: (operation: Operation) => void): Ops {
  let batch: RaggedBatch | null = null;
  const wrap = (name: string, method: Method): Method => {
    if (name === "beginStep") {
      return (next: RaggedBatch) => {
        batch = next;
        ops.beginStep(next);
      };
    }
    if (!timed.has(name)) return method.bind(ops) as Method;
    return (...args) => {
      const start = performance.now();
      const result = method.apply(ops, args);
      const seconds = (performance.now() - start) / 1000;
      onOperation({ ...costOf(name, args, batch), seconds });
      return result;
    };
  };
  const wrapped = new Map<PropertyKey, Method>();
  return new Proxy(ops, {
    get(target, property) {
      const known = wrapped.get(property);
      if (known !== undefined) return known;
      const value: unknown = Reflect.get(target, property, target);
      if (typeof value !== "function" || typeof property !== "string") return value;
      const method = wrap(property, value as Method);
      wrapped.set(property, method);
      return method;
    },
  });
}

function costOf(name: string, args: readonly unknown[], batch: RaggedBatch | null): OperationWork {
  if (name === "linear") return linearCost(args[0] as Tensor, args[1] as LinearWeight);
  if (name === "pagedAttention" && batch !== null) {
    return attentionCost(batch, args[1] as KvCache, args[3] as AttentionOptions);
  }
  return { kind: name, bytes: 0, operations: 0, unit: "f32" };
}

function linearCost(x: Tensor, weight: LinearWeight): OperationWork {
  const last = weight.name.slice(weight.name.lastIndexOf(".") + 1);
  const form = weight.gatheredForm ?? x.form;
  return {
    kind: last === "embed_tokens" ? "lm_head" : last,
    bytes: weight.sizeBytes,
    operations: 2 * x.rows * weight.rows * weight.cols,
    unit: linearUnit(form, weight),
  };
}

function linearUnit(form: TensorForm, weight: LinearWeight): OperationUnit {
  if (form === "bf16") return weight.weightForm === "bf16" ? "bf16" : "f32";
  if (form === "f32") return "f32";
  return weight.weightForm.startsWith("int4") ? "int4" : "int8";
}

const kvElementBytes = { f32: 4, f16: 2, bf16: 2, int8: 1 } as const;

function attentionCost(batch: RaggedBatch, cache: KvCache, options: AttentionOptions): OperationWork {
  const { numHeads, numKvHeads, headDim } = options;
  const window = options.slidingWindow ?? 0;
  let pairs = 0;
  let cached = 0;
  for (let s = 0; s < batch.numSeqs; s += 1) {
    const first = batch.queryStarts[s]!;
    const end = batch.queryStarts[s + 1]!;
    for (let t = first; t < end; t += 1) {
      const visible = batch.positions[t]! + 1;
      pairs += window > 0 ? Math.min(visible, window) : visible;
    }
    const context = batch.contextLengths[s]!;
    cached += window > 0 ? Math.min(context, window + end - first - 1) : context;
  }
  return {
    kind: "pagedAttention",
    bytes: 2 * cached * numKvHeads * headDim * kvElementBytes[cache.dtype],
    operations: 4 * pairs * numHeads * headDim,
    unit: "f32",
  };
}
