import { MillraceError } from "../base/errors.ts";

/** Schemes of compressed-tensors. */
export type CompressedSchemeName = "w8a8" | "w4a16" | "w4a8" | "w8a16" | "w3a16" | "w2a16";

/** What a name says of the linears of a model. */
export interface Scheme {
  readonly name: CompressedSchemeName;
  readonly weightBits: 8 | 4 | 3 | 2;
  /** What shares a scale: a row of the matrix, a group of a row's columns, or a group where one is asked for. */
  readonly sharing: "channel" | "group" | "either";
  /** compressed-tensors: one byte an element, or bits packed into 32-bit words. */
  readonly format: "int-quantized" | "pack-quantized";
  readonly activations: "int8-token" | "unspecified";
}

const schemes: Readonly<Record<CompressedSchemeName, Scheme>> = {
  w8a8: {
    name: "w8a8",
    weightBits: 8,
    sharing: "channel",
    format: "int-quantized",
    activations: "int8-token",
  },
  w4a16: packed("w4a16", 4, "group"),
  // Two weights in a byte; llm-compressor's own files of this scheme have one, which doubles them.
  w4a8: { ...packed("w4a8", 4, "group"), activations: "int8-token" },
  w8a16: packed("w8a16", 8, "either"),
  w3a16: packed("w3a16", 3, "group"),
  w2a16: packed("w2a16", 2, "group"),
};

function packed(
  name: CompressedSchemeName,
  weightBits: Scheme["weightBits"],
  sharing: Scheme["sharing"],
): Scheme {
  return { name, weightBits, sharing, format: "pack-quantized", activations: "unspecified" };
}

export const compressedSchemeNames = Object.keys(schemes) as [
  CompressedSchemeName,
  ...CompressedSchemeName[],
];

/** The scheme of a name. Throws `invalid_scheme`. */
export function parseScheme(name: string): Scheme {
  const key = name.toLowerCase();
  if (Object.hasOwn(schemes, key)) return schemes[key as CompressedSchemeName];
  throw new MillraceError(
    "invalid_scheme",
    `There is no scheme "${name}". Schemes: ${compressedSchemeNames.join(", ")}. Choose one of them.`,
    { param: "--scheme" },
  );
}

/** Throws `invalid_scheme` for zero points beside 8 bits, where they gain nothing and cost every kernel a sum. */
export function checkSymmetry(scheme: Scheme, symmetric: boolean): void {
  if (symmetric || scheme.weightBits <= 4) return;
  throw new MillraceError(
    "invalid_scheme",
    `Scheme ${scheme.name} has ${scheme.weightBits}-bit weights, which take no zero points. Zero points help at 4 bits and below. Leave --asymmetric out, or use w4a16.`,
    { param: "--asymmetric" },
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
  if (scheme.sharing === "either" && asked === null) return null;
  if (scheme.sharing === "channel") {
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
