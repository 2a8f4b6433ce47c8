import type { SamplingParams } from "../protocol/sampling-params.ts";
import type { SequenceTable } from "./sequence-table.ts";
import { endedByEos, endedByLength, type StepEnd, stillOpen } from "./step-record.ts";

/** When a generating sequence ends: end token, stop id, or its number of tokens. Stop strings are found with the text. */
export class StopRules {
  readonly #table: SequenceTable;
  readonly #eosTokenIds: readonly number[];
  readonly #stopTokenIds: (readonly number[])[];
  readonly #ignoresEos: Uint8Array;

  constructor(table: SequenceTable, eosTokenIds: readonly number[]) {
    this.#table = table;
    this.#eosTokenIds = eosTokenIds;
    this.#stopTokenIds = Array.from({ length: table.capacity }, () => none);
    this.#ignoresEos = new Uint8Array(table.capacity);
  }

  admit(row: number, sampling: SamplingParams): void {
    this.#stopTokenIds[row] = sampling.stopTokenIds.length === 0 ? none : sampling.stopTokenIds;
    this.#ignoresEos[row] = sampling.ignoreEos ? 1 : 0;
  }

  release(row: number): void {
    this.#stopTokenIds[row] = none;
  }

  /** How the sequence stands now that `tokenId` is its last token. */
  endOf(row: number, tokenId: number): StepEnd {
    const numOutput = this.#table.numOutputTokens(row);
    if (numOutput > this.#table.minTokens[row]!) {
      if (this.#ignoresEos[row] === 0 && this.#eosTokenIds.includes(tokenId)) return endedByEos;
      if (this.#stopTokenIds[row]!.includes(tokenId)) return { finishReason: "stop", stopId: tokenId };
    }
    return numOutput >= this.#table.maxTokens[row]! ? endedByLength : stillOpen;
  }
}

const none: readonly number[] = [];
