import type { RequestTrace } from "../../protocol/engine-client.ts";

/** One entry of an answer's `explain`: the fields of `RequestTrace` in the wire's spelling, with the choice's index. */
export interface TraceBody {
  readonly index: number;
  readonly [field: string]: number | string | null;
}

export function traceBody(index: number, trace: RequestTrace): TraceBody {
  const fields = Object.entries(trace) as [string, number | string | null][];
  return { index, ...Object.fromEntries(fields.map(([name, value]) => [onWire(name), value])) };
}

/** `numCachedTokens` → `num_cached_tokens`. */
function onWire(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
