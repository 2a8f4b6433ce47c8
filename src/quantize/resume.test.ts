import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import type { TensorFile, TensorPart } from "../formats/tensor-file.ts";
import type { WriteJournal } from "./journal.ts";
import { keepWritten } from "./resume.ts";

/** What is said of a run that wrote so many matrices, of which so many are damaged now. */
function notesOf(numWhole: number, numDamaged: number): readonly string[] {
  const bytes = Buffer.from("weights");
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  const entries = Array.from({ length: numWhole + numDamaged }, (_, index) => ({
    module: `layer.${index}`,
    tensors: [{ sha256: index < numWhole ? sha256 : "another" }],
  }));
  const writer = {
    isResumed: true,
    keep: (_: TensorPart, onPiece: (piece: Buffer) => void) => onPiece(bytes),
    reset: () => {},
  };
  const journal = { entries: new Map(entries.map((entry) => [entry.module, entry])) };
  return keepWritten(writer as unknown as TensorFile, journal as unknown as WriteJournal).notes;
}

test("says how many matrices were kept and how many were damaged, be it one", () => {
  expect(notesOf(1, 1)).toEqual([
    "1 matrix is of a run that was interrupted; its hashes were checked.",
    "1 matrix of that run was damaged, layer.1; it was made again.",
  ]);
  expect(notesOf(2, 2)).toEqual([
    "2 matrices are of a run that was interrupted; their hashes were checked.",
    "2 matrices of that run were damaged, the first layer.2; they were made again.",
  ]);
  expect(notesOf(0, 0)).toEqual(["0 matrices are of a run that was interrupted; their hashes were checked."]);
});
