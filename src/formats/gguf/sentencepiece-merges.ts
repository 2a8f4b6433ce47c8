/**
 * BPE merges of a SentencePiece vocabulary: every way to cut a piece into two pieces is a merge, and a merge ranks
 * by the score of what it makes, best first (the conversion that transformers uses for Llama 2).
 *
 * @param scores by token id
 */
export function mergesFromScores(
  ids: ReadonlyMap<string, number>,
  scores: ArrayLike<number>,
): [string, string][] {
  const merges: {
    readonly left: string;
    readonly right: string;
    readonly score: number;
    readonly order: number;
  }[] = [];
  for (const [piece, id] of ids) {
    const cuts: [string, string][] = [];
    const characters = Array.from(piece);
    for (let i = 1, at = 0; i < characters.length; i += 1) {
      at += characters[i - 1]!.length;
      const left = piece.slice(0, at);
      const right = piece.slice(at);
      if (ids.has(left) && ids.has(right)) cuts.push([left, right]);
    }
    cuts.sort((a, b) => ids.get(a[0])! - ids.get(b[0])! || ids.get(a[1])! - ids.get(b[1])!);
    for (const [left, right] of cuts) merges.push({ left, right, score: scores[id]!, order: merges.length });
  }
  const width = (text: string): number => Array.from(text).length;
  merges.sort(
    (a, b) =>
      b.score - a.score ||
      width(b.left) - width(a.left) ||
      width(b.right) - width(a.right) ||
      a.order - b.order,
  );
  return merges.map(({ left, right }) => [left, right]);
}
