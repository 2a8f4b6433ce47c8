import { MillraceError } from "../base/errors.ts";

export type SchemeName = "w8a8" | "w4a16" | "w3a16" | "w2a16";

/** How linears are stored: symmetric integers, one scale per output channel or per group of columns. */
export interface Scheme {
  readonly name: SchemeName;
  readonly weightBits: 8 | 4 | 3 | 2;
  readonly isGrouped: boolean;
  /** compressed-tensors: one byte an element, or bits packed into 32-bit words. */
  readonly format: "int-quantized" | "pack-quantized";
  readonly activations: "int8-token" | "unspecified";
}

const schemes: Readonly<Record<SchemeName, Scheme>> = {
  w8a8: { name: "w8a8", weightBits: 8, isGrouped: false, format: "int-quantized", activations: "int8-token" },
  w4a16: {
    name: "w4a16",
    weightBits: 4,
    isGrouped: true,
    format: "pack-quantized",
    activations: "unspecified",
  },
  w3a16: {
    name: "w3a16",
    weightBits: 3,
    isGrouped: true,
    format: "pack-quantized",
    activations: "unspecified",
  },
  w2a16: {
    name: "w2a16",
    weightBits: 2,
    isGrouped: true,
    format: "pack-quantized",
    activations: "unspecified",
  },
};

export const schemeNames = Object.keys(schemes) as [SchemeName, ...SchemeName[]];

/** The scheme of a name. Throws `invalid_scheme`. */
export function parseScheme(name: string): Scheme {
  const scheme = schemes[name.toLowerCase() as SchemeName] as Scheme | undefined;
  if (scheme !== undefined) return scheme;
  throw new MillraceError(
    "invalid_scheme",
    `There is no scheme "${name}". Schemes: ${schemeNames.join(", ")}. Choose one of them.`,
    { param: "--scheme" },
  );
}

/** Group sizes that compressed-tensors readers have kernels for, largest first. */
export const groupSizes = [128, 64, 32] as const;

export interface LinearShape {
  readonly module: string;
  readonly rows: number;
  readonly cols: number;
}

/**
 * The group size of all linears of a model: the one asked for, else the largest of 128, 64 and 32 that divides every
 * input width. One size per model keeps the linears that readers fuse (q, k, v; gate, up) alike.
 * Throws `invalid_scheme` with the linear that does not fit.
 */
export function chooseGroupSize(
  scheme: Scheme,
  asked: number | null,
  linears: readonly LinearShape[],
): number | null {
  if (!scheme.isGrouped) {
    if (asked === null) return null;
    throw invalidGroup(
      `Scheme ${scheme.name} has one scale per output channel and takes no group size, but ${asked} was given. Leave --group-size out, or use w4a16.`,
    );
  }
  const fitting = groupSizes.filter((size) => linears.every((linear) => linear.cols % size === 0));
  const allowed =
    fitting.length === 0 ? "none of 128, 64 and 32 fits" : `sizes that fit this model: ${fitting.join(", ")}`;
  if (asked === null) {
    const size = fitting[0];
    if (size !== undefined) return size;
    throw invalidGroup(`${describeMisfit(linears, 32)}: ${allowed}. Use --scheme w8a8, which has no groups.`);
  }
  if (!groupSizes.some((size) => size === asked)) {
    throw invalidGroup(
      `Group size ${asked} is not one of 128, 64 and 32; ${allowed}. Choose one, or leave --group-size out.`,
    );
  }
  if (!fitting.some((size) => size === asked)) {
    throw invalidGroup(
      `${describeMisfit(linears, asked)}; ${allowed}. Choose one of those, or --scheme w8a8.`,
    );
  }
  return asked;
}

function describeMisfit(linears: readonly LinearShape[], size: number): string {
  const misfit = linears.find((linear) => linear.cols % size !== 0);
  return `${misfit?.module ?? "A linear"} has ${misfit?.cols ?? 0} input columns, which groups of ${size} do not divide`;
}

function invalidGroup(message: string): MillraceError {
  return new MillraceError("invalid_scheme", message, { param: "--group-size" });
}
