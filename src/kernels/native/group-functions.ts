import type { NativeAddon, NativeContext } from "../addon.ts";
import { emptyQuantized } from "../grid.ts";
import { packedWords } from "../packed-codes.ts";
import { checksumBytes } from "../reference/row-checksums.ts";
import { totalOf } from "../reference/squared-errors.ts";
import type { GroupJob, Solver } from "../solver.ts";

type GroupFunctions = Pick<
  Solver,
  "roundGroups" | "readGroups" | "packCodes" | "squaredErrors" | "rowChecksums"
>;

/** What a solver does with integers in groups, and how it compares rows of values: by squared errors and checksums. */
export function groupFunctions(addon: NativeAddon, context: NativeContext): GroupFunctions {
  return {
    roundGroups: ({ cols, values, grid, importance, isSearched }: GroupJob) => {
      const { bits, groupSize, roundsSteps } = grid;
      const quantized = emptyQuantized(values.length, grid);
      const { codes, scales, zeros } = quantized;
      addon.roundGroups(
        context,
        values.length / cols,
        cols,
        groupSize,
        bits,
        values,
        importance,
        bytesOf(codes),
        bytesOf(scales),
        zeros && bytesOf(zeros),
        roundsSteps,
        isSearched,
      );
      return quantized;
    },
    readGroups: ({ codes, scales, zeros }, cols) => {
      const values = new Float32Array(codes.length);
      const groupSize = codes.length / scales.length;
      const rows = codes.length / cols;
      addon.readGroups(
        context,
        rows,
        cols,
        groupSize,
        8,
        bytesOf(codes),
        bytesOf(scales),
        zeros && bytesOf(zeros),
        values,
      );
      return values;
    },
    packCodes: (codes, cols, bits) => {
      const rows = codes.length / cols;
      const out = new Uint8Array(rows * packedWords(cols, bits) * 4);
      addon.packCodes(context, bytesOf(codes), rows, cols, bits, out);
      return out;
    },
    squaredErrors: (wanted, written, cols) => {
      const rows = wanted.length / cols;
      const sums = new Float64Array(2 * rows);
      addon.squaredErrors(context, wanted, written, rows, cols, sums);
      return totalOf(sums);
    },
    rowChecksums: (values, cols) => {
      const rows = values.length / cols;
      const sums = new Uint8Array(rows * checksumBytes);
      addon.checksumRows(context, values, rows, cols, sums);
      return sums;
    },
  };
}

export function bytesOf({ buffer, byteOffset, byteLength }: Int8Array | Uint16Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
