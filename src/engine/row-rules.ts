import type { SamplingParams } from "../protocol/sampling-params.ts";
import type { SequenceTable } from "./sequence-table.ts";
import { TokenHistory } from "./token-history.ts";
import type { TokenMask } from "./token-mask.ts";

/** Tokens whose logits a request changes by a fixed number; −Infinity bans one. */
export interface LogitBias {
  readonly ids: Int32Array;
  readonly values: Float32Array;
}

/**
 * What one request changes in its logits. Most requests change nothing and have none. History and mask follow the
 * sequence by themselves: `follow` takes in what the table knows and they have not seen.
 */
export class RowRules {
  /** Biases and bans that hold at every token. */
  readonly always: LogitBias;
  /** Those and the bans of end tokens; holds until `minTokens` are out. */
  readonly untilMinTokens: LogitBias;
  /** Token sequences of two or more; the last token is banned after the others. */
  readonly badWords: readonly (readonly number[])[];
  readonly repetition: number;
  readonly frequency: number;
  readonly presence: number;
  /** Null without penalties. */
  readonly history: TokenHistory | null;
  readonly allowedTokenIds: readonly number[] | null;
  mask: TokenMask | null = null;
  #numInHistory = 0;
  #numInMask = -1;

  constructor(sampling: SamplingParams, endTokenIds: readonly number[]) {
    const { repetitionPenalty, frequencyPenalty, presencePenalty, badWords } = sampling;
    const biases = new Map(sampling.logitBias ?? []);
    for (const word of badWords) if (word.length === 1) biases.set(word[0]!, -Infinity);
    this.always = toLogitBias(biases);
    if (sampling.minTokens > 0) {
      for (const id of endTokenIds) biases.set(id, -Infinity);
      for (const id of sampling.stopTokenIds) biases.set(id, -Infinity);
    }
    this.untilMinTokens = toLogitBias(biases);
    this.badWords = badWords.filter((word) => word.length > 1);
    this.repetition = repetitionPenalty;
    this.frequency = frequencyPenalty;
    this.presence = presencePenalty;
    const isPenalised = repetitionPenalty !== 1 || frequencyPenalty !== 0 || presencePenalty !== 0;
    this.allowedTokenIds = sampling.allowedTokenIds;
    this.history = isPenalised ? new TokenHistory() : null;
  }

  /** True where all of it would change nothing. */
  get isEmpty(): boolean {
    const { untilMinTokens, badWords, history, allowedTokenIds } = this;
    return untilMinTokens.ids.length + badWords.length === 0 && history === null && allowedTokenIds === null;
  }

  /** Brings history and mask to the known tokens of the row. */
  follow(table: SequenceTable, row: number): void {
    const numPrompt = table.numPromptTokens[row]!;
    const numTokens = table.numTokens[row]!;
    const ids = table.tokenIds(row);
    if (this.history !== null) {
      // Only the repetition penalty looks at the prompt.
      if (this.repetition === 1) this.#numInHistory = Math.max(this.#numInHistory, numPrompt);
      for (let at = this.#numInHistory; at < numTokens; at += 1)
        this.history.add(ids[at]!, at < numPrompt ? 0 : 1);
      this.#numInHistory = numTokens;
    }
    if (this.mask !== null) {
      for (let at = Math.max(this.#numInMask, numPrompt); at < numTokens; at += 1) this.mask.accept(ids[at]!);
      this.#numInMask = numTokens;
    }
  }
}

function toLogitBias(biases: ReadonlyMap<number, number>): LogitBias {
  return { ids: Int32Array.from(biases.keys()), values: Float32Array.from(biases.values()) };
}
