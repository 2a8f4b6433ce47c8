import { MillraceError } from "../../base/errors.ts";
import { hashPieceTokens, type TraceRequest } from "../../protocol/request-trace.ts";

/** Pieces that can be told apart with token ids of 31 bits. */
const maxPieces = Math.floor(0x7fffffff / hashPieceTokens);

/**
 * Makes token ids for requests of which only lengths and hash ids are known: equal hash ids give equal tokens, and
 * nothing else is equal between two requests. So the prefix cache finds what the real texts would have let it find.
 *
 * Errors: `invalid_data_file` for more hash ids than there are token ids.
 */
export class PromptMaker {
  readonly #pieces = new Map<number, number>();

  /** [numPromptTokens] token ids; those that no hash id covers are the request's own. */
  make(index: number, request: TraceRequest): Int32Array {
    const ids = new Int32Array(request.numPromptTokens).fill(ownToken(index));
    for (const [position, hashId] of request.hashIds.entries()) {
      const start = position * hashPieceTokens;
      const end = Math.min(ids.length, start + hashPieceTokens);
      const first = this.#pieceOf(hashId) * hashPieceTokens;
      for (let at = start; at < end; at += 1) ids[at] = first + at - start;
    }
    return ids;
  }

  #pieceOf(hashId: number): number {
    const known = this.#pieces.get(hashId);
    if (known !== undefined) return known;
    const piece = this.#pieces.size;
    if (piece === maxPieces) {
      throw new MillraceError(
        "invalid_data_file",
        `The trace has more than ${maxPieces} different hash ids; so many can be told apart. Take fewer requests of it.`,
      );
    }
    this.#pieces.set(hashId, piece);
    return piece;
  }
}

/** The token that stands for all text that only this request has, its output above all. */
export function ownToken(index: number): number {
  return -1 - index;
}
