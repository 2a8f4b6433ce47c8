import type { NativeAddon } from "../addon.ts";
import { type BlockJob, blockTraits } from "../block-types.ts";
import type { RoundingJob, Solver } from "../solver.ts";
import { bytesOf, groupFunctions } from "./group-functions.ts";

/** The addon's own kernels, on threads of their own that sleep between calls. */
export function createNativeSolver(addon: NativeAddon, isa: string, numThreads: number): Solver {
  const context = addon.createContext(isa, numThreads, false);
  return {
    addGram: (x, count, gram) => addon.addGram(context, x, count, Math.sqrt(gram.length), gram),
    factorize: (matrix, n, inverse) => addon.factorize(context, matrix, n, inverse),
    roundRows: ({ rows, cols, values, codes, bits, scales, zeros, groups, upper }: RoundingJob) => {
      const [least, most] = [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1];
      const numGroups = scales.length / rows;
      addon.roundRows(
        context,
        rows,
        cols,
        numGroups,
        values,
        bytesOf(codes),
        scales,
        zeros,
        groups,
        upper,
        least,
        most,
      );
    },
    roundBlocks: ({ type, cols, values, importance, isSearched, blocks }: BlockJob) => {
      const { size, bytes, bits, hasMinimums } = blockTraits[type];
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
      );
    },
    ...groupFunctions(addon, context),
    quadraticForms: (x, gram, n) => {
      const rows = x.length / n;
      const forms = new Float64Array(rows);
      addon.quadraticForms(context, x, rows, n, gram, forms);
      return forms;
    },
    close: () => addon.close(context),
  };
}
