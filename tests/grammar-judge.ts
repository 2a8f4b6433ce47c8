import { GrammarPool } from "../src/grammar/grammar-pool.ts";
import { maskChannelWords } from "../src/protocol/token-mask-channel.ts";
import { createByteTokenizer } from "./byte-tokenizer.ts";

/** What a grammar lets a model write, byte by byte: through the threads that serve, with a byte as each token. */
export class GrammarJudge {
  readonly #endTokenId: number;
  readonly #pool: GrammarPool;

  constructor() {
    const tokenizer = createByteTokenizer();
    this.#endTokenId = tokenizer.eosTokenIds[0]!;
    const { vocabSize, eosTokenIds: endTokenIds } = tokenizer;
    this.#pool = new GrammarPool({ tokenizer, vocabSize, endTokenIds });
  }

  /** Compiles EBNF; the result says of a text, or of bytes, whether an answer may be it, from its first byte to its end. */
  async judge(grammar: string): Promise<(text: string | Uint8Array) => boolean> {
    const compiled = await this.#pool.prepare({ kind: "ebnf", grammar }, "grammar");
    return (text) => {
      const { port, shared } = compiled.open();
      const words = new Int32Array(shared);
      const ids = [...(typeof text === "string" ? new TextEncoder().encode(text) : text), this.#endTokenId];
      const isAllowed = ids.every((id, index) => {
        while (Atomics.load(words, maskChannelWords.numHandled) !== index) {
          if (Atomics.load(words, maskChannelWords.hasFailed) !== 0)
            throw new Error("the grammar thread failed");
          Atomics.wait(words, maskChannelWords.numHandled, index - 1, 1000);
        }
        // Read before the other side is told to go on.
        const isOpen = ((words[maskChannelWords.mask + (id >>> 5)]! >>> (id & 31)) & 1) === 1;
        port.postMessage(id);
        return isOpen;
      });
      port.close();
      return isAllowed;
    };
  }

  close(): Promise<void> {
    return this.#pool.close();
  }
}
