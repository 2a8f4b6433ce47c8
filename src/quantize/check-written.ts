import { createHash } from "node:crypto";
import { setImmediate as nextTurn } from "node:timers/promises";
import { collectAfter } from "../base/collect-garbage.ts";
import { MillraceError } from "../base/errors.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import { sliceRows } from "../formats/slice-rows.ts";
import type { Solver } from "../kernels/solver.ts";
import { bytesOf } from "./matrix-writer.ts";
import { ValueReader } from "./read-values.ts";
import { rowBands } from "./row-bands.ts";

/** A linear and the hash of the values that its integers stand for. */
export interface ExpectedValues {
  readonly name: string;
  readonly shape: readonly number[];
  readonly valuesSha256: string;
}

/**
 * Reads linears back as any reader of the file does, and compares their values with those that were meant. Throws
 * `invalid_model_file` for the first that differs.
 */
export async function checkWritten(
  written: Checkpoint,
  expected: readonly ExpectedValues[],
  { bandElements, solver }: { readonly bandElements: number; readonly solver: Solver },
): Promise<void> {
  const reader = new ValueReader(solver);
  const collect = collectAfter(bandElements);
  for (const { name, shape, valuesSha256 } of expected) {
    const hash = createHash("sha256");
    const weight = written.linear(name);
    for (const { first, count } of rowBands(shape[0]!, shape[1]!, bandElements)) {
      hash.update(bytesOf(reader.read(sliceRows(weight, first, count))));
      written.dropPages();
      collect(count * shape[1]!);
      await nextTurn();
    }
    if (hash.digest("hex") === valuesSha256) continue;
    throw new MillraceError(
      "invalid_model_file",
      `${written.path} holds other values in ${name} than were written. The file must be read as it was made. Check the disk and quantise again.`,
    );
  }
}
