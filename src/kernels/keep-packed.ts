import type { OrderedWeight } from "../base/weights.ts";
import type { KvCache, KvCacheShape, LinearWeight, Ops, PackOptions } from "./ops.ts";

interface Packed {
  readonly parts: readonly OrderedWeight[];
  readonly weight: LinearWeight;
}

/**
 * An `Ops` on which many models are built that differ in few matrices: a linear of the same name, the same options and
 * the very same parts is packed once, and models share a KV cache of the same shape. Only one of them may run at a time.
 */
export function keepPacked(ops: Ops): Ops {
  const packed = new Map<string, Packed[]>();
  const caches = new Map<string, KvCache>();
  const packLinear = (parts: readonly OrderedWeight[], options: PackOptions): LinearWeight => {
    const { columns = null, ...rest } = options;
    const key = JSON.stringify([rest, columns === null ? null : [...columns]]);
    const known = packed.get(key) ?? [];
    packed.set(key, known);
    const earlier = known.find(
      (own) => own.parts.length === parts.length && own.parts.every((part, i) => part === parts[i]),
    );
    if (earlier !== undefined) return earlier.weight;
    const weight = ops.packLinear(parts, options);
    known.push({ parts, weight });
    return weight;
  };
  const createKvCache = (shape: KvCacheShape): KvCache => {
    const key = JSON.stringify(shape);
    const cache = caches.get(key) ?? ops.createKvCache(shape);
    caches.set(key, cache);
    return cache;
  };
  return new Proxy(ops, {
    get(target, property) {
      if (property === "packLinear") return packLinear;
      if (property === "createKvCache") return createKvCache;
      const value: unknown = Reflect.get(target, property, target);
      return typeof value === "function" ? (value.bind(target) as unknown) : value;
    },
  });
}
