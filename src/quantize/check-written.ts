import { createHash } from "node:crypto";
import { setImmediate as nextTurn } from "node:timers/promises";
import { collectAfter } from "../base/collect-garbage.ts";
import { MillraceError } from "../base/errors.ts";
import type { Progress } from "../base/progress.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import { sliceRows } from "../formats/slice-rows.ts";
import type { Solver } from "../kernels/solver.ts";
import { ValueReader } from "./read-values.ts";
import { rowBands } from "./row-bands.ts";

/** A linear and what tells the values that its integers stand for. */
export interface ExpectedValues {
  readonly name: string;
  readonly shape: readonly number[];
  readonly valuesChecksum: string;
}

export interface CheckOptions {
  /** Elements that are read at a time. */
  readonly bandElements: number;
  readonly solver: Solver;
  readonly progress: Progress;
}

/**
 * Reads linears back as any reader of the file does, and compares their values with those that were meant. Throws
 * `invalid_model_file` for the first that differs, and what `progress` throws.
 */
export async function checkWritten(
  written: Checkpoint,
  expected: readonly ExpectedValues[],
  { bandElements, solver, progress }: CheckOptions,
): Promise<void> {
  const reader = new ValueReader(solver);
  const collect = collectAfter(bandElements);
  const total = expected.reduce((sum, { shape: [rows, cols] }) => sum + rows! * cols!, 0);
  let done = 0;
  progress.start("read back", total);
  for (const { name, shape, valuesChecksum } of expected) {
    const checksum = createHash("sha256");
    const weight = written.linear(name);
    for (const { first, count } of rowBands(shape[0]!, shape[1]!, bandElements)) {
      const values = reader.read(sliceRows(weight, first, count));
      checksum.update(solver.rowChecksums(values, shape[1]!));
      written.dropPages();
      collect(count * shape[1]!);
      done += count * shape[1]!;
      progress.update(done, name);
      await nextTurn();
    }
    if (checksum.digest("hex") === valuesChecksum) continue;
    throw new MillraceError(
      "invalid_model_file",
      `${written.path} holds other values in ${name} than were written. The file must be read as it was made. Check the disk and quantise again.`,
    );
  }
  progress.finish(`${expected.length} linears read back`);
}
