import type { NativeAddon } from "../addon.ts";
import { type BlockJob, blockTraits } from "../block-types.ts";
import type { RoundingJob, Solver } from "../solver.ts";
import { bytesOf, groupFunctions } from "./group-functions.ts";
import { toNativePart } from "./native-numbers.ts";

/** The addon's own kernels, on threads of their own that sleep between calls. */
export function createNativeSolver(addon: NativeAddon, isa: string, numThreads: number): Solver {
  const context = addon.createContext(isa, numThreads, false);
  return {
    addGram: (x, count, gram) => addon.addGram(context, x, count, Math.sqrt(gram.length), gram),
    addSquares: (x, count, sums) => addon.addSquares(context, x, count, sums.length, sums),
    factorize: (matrix, n, inverse) => addon.factorize(context, matrix, n, inverse),
    roundRows: ({ cols, values, range, groupSize, scales, minimums, order, upper }: RoundingJob) => {
      const codes = new Int8Array(values.length);
      addon.roundRows(
        context,
        values.length / cols,
        cols,
        groupSize,
        values,
        bytesOf(codes),
        scales,
        minimums,
        order,
        upper,
        range.least,
        range.most,
        range.levels && bytesOf(range.levels),
      );
      return codes;
    },
    roundBlocks: ({ type, cols, values, importance, isSearched, blocks }: BlockJob) => {
      const { size, bytes, bits, hasMinimums, levels } = blockTraits[type];
      addon.roundBlocks(
        context,
        values.length / cols,
        cols,
        values,
        importance,
        blocks,
        size,
        bytes,
        bits,
        hasMinimums,
        isSearched,
        levels === undefined ? null : bytesOf(levels),
      );
    },
    ...groupFunctions(addon, context),
    readWeight: (weight, values) => {
      addon.readWeight(context, toNativePart(weight), values);
      return true;
    },
    areFinite: (values) => addon.areFinite(context, values),
    quadraticForms: (x, y, gram, n) => {
      const rows = x.length / n;
      const forms = new Float64Array(rows);
      addon.quadraticForms(context, x, y, rows, n, gram, forms);
      return forms;
    },
    close: () => addon.close(context),
  };
}
