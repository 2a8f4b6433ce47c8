/** A place in a glob: what character it takes, whether again and again, and how many places on one may go without any. */
interface Place {
  readonly accepts: (char: string) => boolean;
  readonly isRepeated: boolean;
  readonly skips: readonly number[];
}

const anyChar = (): boolean => true;
const inFolder = (char: string): boolean => char !== "/";
const one = (accepts: Place["accepts"]): Place => ({ accepts, isRepeated: false, skips: [] });
const repeated = (accepts: Place["accepts"]): Place => ({ accepts, isRepeated: true, skips: [1] });

/**
 * Matches names as fsspec does: `*` and `?` stay within a folder, `**` is any number of folders.
 *
 * Why not a regular expression: a data set's card gives the pattern, and one of many stars would take the expression a
 * power of the name's length. All places that a name can have reached are followed at once instead, so that the time is the product
 * of both lengths at most.
 */
export function globMatcher(glob: string): (name: string) => boolean {
  const places = placesOf(glob);
  const followSkips = (reached: Uint8Array): Uint8Array => {
    for (const [at, { skips }] of places.entries())
      if (reached[at] === 1) for (const skip of skips) reached[at + skip] = 1;
    return reached;
  };
  return (name) => {
    let reached = followSkips(Uint8Array.of(1, ...places.map(() => 0)));
    for (const char of name) {
      const next = new Uint8Array(places.length + 1);
      for (const [at, { accepts, isRepeated }] of places.entries())
        if (reached[at] === 1 && accepts(char)) next[isRepeated ? at : at + 1] = 1;
      reached = followSkips(next);
    }
    return reached[places.length] === 1;
  };
}

function placesOf(glob: string): Place[] {
  const parts = glob.match(/\*\*\/|\*+|\[[^\]]*\]|[^]/gu) ?? [];
  return parts.flatMap((part, index) => {
    // Nothing, or any characters and a slash.
    if (part === "**/")
      return [
        { accepts: () => false, isRepeated: false, skips: [1, 3] },
        repeated(anyChar),
        one((char) => char === "/"),
      ];
    if (part === "**" && index === parts.length - 1) return [repeated(anyChar)];
    if (part.startsWith("*")) return [repeated(inFolder)];
    if (part === "?") return [one(inFolder)];
    return [one(part.length > 1 && part.startsWith("[") ? setOf(part) : (char) => char === part)];
  });
}

/** `[abc]`, `[a-c]`, or `[!abc]` for all others. */
function setOf(part: string): Place["accepts"] {
  const isNegated = /^\[[!^]/.test(part);
  const inner = part.slice(isNegated ? 2 : 1, -1);
  const ranges = Array.from(inner.matchAll(/([^])-([^])|[^]/gu), ([whole, low = whole, high = whole]) => [
    low,
    high,
  ]);
  return (char) => ranges.some(([low, high]) => low! <= char && char <= high!) !== isNegated;
}
