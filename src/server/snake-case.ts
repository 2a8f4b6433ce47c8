/** A value with all its objects' keys in the wire's spelling: `numCachedTokens` → `num_cached_tokens`. */
export function snakeCased(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(snakeCased);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).map(([name, inner]) => [onWire(name), snakeCased(inner)]);
  return Object.fromEntries(entries) as unknown;
}

function onWire(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
