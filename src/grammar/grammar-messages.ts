import type { TokenMaskChannel } from "../protocol/token-mask-channel.ts";
import type { GrammarSpec } from "./grammar-spec.ts";

/** The kinds that the library is given. */
export type LibrarySpec = Extract<GrammarSpec, { kind: "regex" | "ebnf" }>;

/** The tokens of a model as a grammar sees them. */
export interface GrammarVocabulary {
  /** [vocabSize] bytes of each token, U+0000 to U+00FF for each byte; empty for special and unknown ones. */
  readonly tokens: readonly string[];
  /** Tokens that end an answer, allowed where the grammar may end. */
  readonly endTokenIds: readonly number[];
  /** Compiled grammars to keep for the next request with the same one. */
  readonly maxKept: number;
}

/** To a grammar thread. `open` compiles the grammar again where it is no longer kept. */
export type GrammarCommand =
  | { readonly kind: "compile"; readonly id: number; readonly spec: LibrarySpec }
  | { readonly kind: "open"; readonly spec: LibrarySpec; readonly channel: TokenMaskChannel };

/** From a grammar thread: one for each `compile`. After `failed` the thread is of no more use. */
export type GrammarReport =
  | { readonly kind: "compiled"; readonly id: number }
  | { readonly kind: "failed"; readonly id: number; readonly reason: string };
