import { createHash } from "node:crypto";
import type { TensorFile, TensorPart } from "../formats/tensor-file.ts";
import { type JournalEntry, WriteJournal } from "./journal.ts";
import { type OutputFolder, outputExists } from "./output-folder.ts";
import type { QuantizePlan } from "./plan.ts";

/**
 * The journal of a folder, which goes on where a run of the same fingerprint was. Of the files in the folder only that
 * run's weights stay: all else is written anew, and what else lay there would count as a part of the model. Throws
 * `output_exists` for the journal of another plan, model or version, unless what is there may give way.
 */
export function beginJournal(
  folder: OutputFolder,
  fingerprint: string,
  {
    replaceEarlier = false,
    weightsName,
  }: Pick<QuantizePlan, "replaceEarlier"> & { readonly weightsName: string },
): WriteJournal {
  const journal = new WriteJournal(folder.markerPath);
  if (journal.fingerprint === fingerprint) {
    folder.clear([weightsName, `${weightsName}.partial`]);
    return journal;
  }
  if (journal.fingerprint !== null && !replaceEarlier) {
    throw outputExists(
      folder.partialPath,
      "holds an interrupted run of another plan, another model or another version of this program",
    );
  }
  journal.begin(fingerprint);
  folder.clear();
  return new WriteJournal(folder.markerPath);
}

/** What an earlier run wrote and the file still holds, checked by its hashes. */
export interface KeptWork {
  readonly entries: ReadonlyMap<string, JournalEntry>;
  readonly notes: readonly string[];
}

/** Matrices of the journal whose bytes are as it says. The others are made again, which a note says. */
export function keepWritten(writer: TensorFile, journal: WriteJournal): KeptWork {
  const entries = new Map<string, JournalEntry>();
  if (!writer.isResumed) return { entries, notes: [] };
  const damaged: string[] = [];
  for (const entry of journal.entries.values()) {
    const hashes = entry.tensors.map((part) => hashOf(writer, part));
    if (entry.tensors.every(({ sha256 }, index) => hashes[index] === sha256)) {
      entries.set(entry.module, entry);
      continue;
    }
    for (const part of entry.tensors) writer.reset(part);
    damaged.push(entry.module);
  }
  const notes = [
    entries.size === 1
      ? "1 matrix is of a run that was interrupted; its hashes were checked."
      : `${entries.size} matrices are of a run that was interrupted; their hashes were checked.`,
  ];
  if (damaged.length === 1) {
    notes.push(`1 matrix of that run was damaged, ${damaged[0]}; it was made again.`);
  } else if (damaged.length > 1) {
    notes.push(
      `${damaged.length} matrices of that run were damaged, the first ${damaged[0]}; they were made again.`,
    );
  }
  return { entries, notes };
}

function hashOf(writer: TensorFile, part: TensorPart): string {
  const hash = createHash("sha256");
  writer.keep(part, (piece) => hash.update(piece));
  return hash.digest("hex");
}
