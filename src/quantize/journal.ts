import { appendFileSync, readFileSync, truncateSync } from "node:fs";
import { z } from "zod";
import { fallbacks } from "./calibration/fallbacks.ts";

/** A matrix that is written whole. */
const entrySchema = z.object({
  module: z.string(),
  /** Its parts of the file's tensors and the hashes of their bytes. */
  tensors: z.array(z.object({ name: z.string(), at: z.int(), size: z.int(), sha256: z.string() })),
  /** The manifest's; null for a matrix that stays dense. */
  valuesChecksum: z.string().nullable(),
  relativeError: z.number(),
  outcome: z.object({ outputError: z.number(), rows: z.record(z.string(), z.number()) }).nullable(),
  /** For the notes of the run that ends the file. */
  fallback: z.enum(fallbacks).nullable(),
});

export type JournalEntry = z.infer<typeof entrySchema>;

const headSchema = z.object({ fingerprint: z.string() });

/** What a run that was killed had written, in JSON lines: first the fingerprint of all that its bytes depend on. */
export class WriteJournal {
  readonly #file: string;
  /** Of the run that began the file; null for a new file. */
  readonly fingerprint: string | null;
  readonly entries: ReadonlyMap<string, JournalEntry>;

  /** Reads the file; a last line that was cut is taken off. Throws what the file system throws. */
  constructor(file: string) {
    this.#file = file;
    const entries = new Map<string, JournalEntry>();
    let fingerprint: string | null = null;
    let numGoodBytes = 0;
    for (const line of readFileSync(file, "utf8").split("\n").slice(0, -1)) {
      const json = parse(line);
      if (fingerprint === null) {
        const head = headSchema.safeParse(json);
        if (!head.success) break;
        fingerprint = head.data.fingerprint;
      } else {
        const entry = entrySchema.safeParse(json);
        if (!entry.success) break;
        entries.set(entry.data.module, entry.data);
      }
      numGoodBytes += Buffer.byteLength(line) + 1;
    }
    truncateSync(file, numGoodBytes);
    this.fingerprint = fingerprint;
    this.entries = entries;
  }

  begin(fingerprint: string): void {
    truncateSync(this.#file);
    appendFileSync(this.#file, `${JSON.stringify({ fingerprint })}\n`);
  }

  add(entry: JournalEntry): void {
    appendFileSync(this.#file, `${JSON.stringify(entry)}\n`);
  }
}

function parse(line: string): unknown {
  try {
    return JSON.parse(line) as unknown;
  } catch {
    return null;
  }
}
