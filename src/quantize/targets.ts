import { MillraceError, messageOf } from "../base/errors.ts";
import { targetOf } from "../formats/quantized/compressed-tensors-config.ts";
import type { LinearShape } from "./scheme.ts";

/** Linears that engines run as one, by the last part of their names. */
const fused: readonly RegExp[] = [/^(.*\.)(q_proj|k_proj|v_proj)$/, /^(.*\.)(gate_proj|up_proj|w1|w3)$/];

/**
 * Splits linears by patterns of those that stay dense: an exact module name, or "re:" and a pattern anchored at the start,
 * as in compressed-tensors. Throws `invalid_option` for a pattern that finds nothing, or that parts linears which run as
 * one, and where nothing is left.
 */
export function splitIgnored<T extends LinearShape>(
  linears: readonly T[],
  patterns: readonly string[],
): { readonly kept: readonly T[]; readonly ignored: readonly T[] } {
  const isIgnored = new Set<string>();
  for (const pattern of patterns) {
    const { matches } = parsePattern(pattern);
    const found = linears.filter(({ module }) => matches(module, "Linear"));
    if (found.length === 0)
      throw refused(pattern, `finds no linear; there is ${linears[0]?.module ?? "none"}`);
    for (const { module } of found) isIgnored.add(module);
  }
  for (const module of isIgnored) {
    const partner = linears.find(
      (other) => !isIgnored.has(other.module) && isFusedWith(module, other.module),
    );
    if (partner === undefined) continue;
    throw refused(module, `runs as one linear with ${partner.module}, which stays in`);
  }
  const kept = linears.filter(({ module }) => !isIgnored.has(module));
  if (kept.length === 0) {
    throw new MillraceError(
      "invalid_option",
      `--ignore ${patterns.join(" ")} leaves no linear to quantise. At least one must be left. Give fewer patterns.`,
      { param: "--ignore" },
    );
  }
  return {
    kept,
    ignored: linears.filter(({ module }) => isIgnored.has(module)),
  };
}

function parsePattern(pattern: string): ReturnType<typeof targetOf> {
  try {
    return targetOf(pattern);
  } catch (error) {
    throw refused(pattern, `is no regular expression (${messageOf((error as Error).cause ?? error)})`);
  }
}

function isFusedWith(module: string, other: string): boolean {
  return fused.some((pattern) => {
    const prefix = pattern.exec(module)?.[1];
    return prefix !== undefined && prefix === pattern.exec(other)?.[1];
  });
}

function refused(what: string, problem: string): MillraceError {
  return new MillraceError(
    "invalid_option",
    `--ignore ${what} ${problem}. It takes module names such as model.layers.0.mlp.down_proj, or re: and a pattern such as "re:.*down_proj"; q, k and v go together, and gate and up.`,
    { param: "--ignore" },
  );
}
