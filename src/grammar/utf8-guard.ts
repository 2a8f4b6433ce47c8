import { invariant } from "../base/invariant.ts";

/** Between two characters: where every text begins. */
export const utf8Start = 0;

/**
 * What may follow, by how the bytes so far end: bytes from `low` to `high` lead to state `next`. The Unicode Standard 16,
 * table 3-7: no overlong forms, no surrogates, nothing above U+10FFFF.
 */
const transitions: readonly (readonly (readonly [low: number, high: number, next: number])[])[] = [
  [
    [0x00, 0x7f, utf8Start],
    [0xc2, 0xdf, 1],
    [0xe0, 0xe0, 4],
    [0xe1, 0xec, 2],
    [0xed, 0xed, 5],
    [0xee, 0xef, 2],
    [0xf0, 0xf0, 6],
    [0xf1, 0xf3, 3],
    [0xf4, 0xf4, 7],
  ],
  [[0x80, 0xbf, utf8Start]],
  [[0x80, 0xbf, 1]],
  [[0x80, 0xbf, 2]],
  [[0xa0, 0xbf, 1]],
  [[0x80, 0x9f, 1]],
  [[0x90, 0xbf, 2]],
  [[0x80, 0x8f, 2]],
];

/** The state after one more byte, or −1 where no UTF-8 goes on so. */
function step(state: number, byte: number): number {
  for (const [low, high, next] of transitions[state]!) if (byte >= low && byte <= high) return next;
  return -1;
}

/**
 * Which tokens keep an answer UTF-8. The grammar library takes a first byte and as many others as it asks for as one
 * character, so that bytes that are none would pass, and count in a length as fewer than a reader sees.
 */
export class Utf8Guard {
  readonly #tokens: readonly string[];
  /** By state; made when first asked for. */
  readonly #masks: (Int32Array | undefined)[] = transitions.map(() => undefined);

  /** @param tokens [vocabSize] bytes of each token, U+0000 to U+00FF for each byte; those without any are let through */
  constructor(tokens: readonly string[]) {
    this.#tokens = tokens;
  }

  /** The state after a token, which `restrict` had let through. */
  after(state: number, tokenId: number): number {
    const next = this.#follow(state, tokenId);
    invariant(next >= 0, "a token that is no UTF-8 had been let through");
    return next;
  }

  /** Takes from a mask (bit set = allowed) every token that is no UTF-8 from `state` on. */
  restrict(mask: Int32Array, state: number): void {
    const allowed = (this.#masks[state] ??= this.#maskOf(state));
    for (let at = 0; at < mask.length; at += 1) mask[at]! &= allowed[at]!;
  }

  #follow(state: number, tokenId: number): number {
    const bytes = this.#tokens[tokenId]!;
    let next = state;
    for (let at = 0; at < bytes.length && next >= 0; at += 1) next = step(next, bytes.charCodeAt(at));
    return next;
  }

  #maskOf(state: number): Int32Array {
    const mask = new Int32Array(Math.ceil(this.#tokens.length / 32));
    for (let id = 0; id < this.#tokens.length; id += 1) {
      if (this.#follow(state, id) >= 0) mask[id >>> 5]! |= 1 << (id & 31);
    }
    return mask;
  }
}
