/**
 * What `JSON.stringify(value, null, 2)` gives, piece by piece, so that no string has to hold all of it. For plain values:
 * objects, arrays, strings, numbers, booleans and null.
 */
export function* jsonPieces(value: unknown, indent = ""): Generator<string> {
  if (typeof value !== "object" || value === null) {
    yield plainText(value);
    return;
  }
  const inner = `${indent}  `;
  const [begin, end] = Array.isArray(value) ? ["[", "]"] : ["{", "}"];
  let before = begin;
  for (const [name, each] of Array.isArray(value) ? namelessOf(value) : namedOf(value)) {
    const head = `${before}\n${inner}${name}`;
    before = ",";
    // Most are numbers of long arrays: a generator for each would take its time.
    if (typeof each !== "object" || each === null) {
      yield head + plainText(each);
    } else {
      yield head;
      yield* jsonPieces(each, inner);
    }
  }
  yield before === begin ? begin + end : `\n${indent}${end}`;
}

function* namelessOf(values: readonly unknown[]): Generator<[string, unknown]> {
  for (const value of values) yield ["", value];
}

function* namedOf(value: object): Generator<[string, unknown]> {
  for (const [name, each] of Object.entries(value))
    if (each !== undefined) yield [`${JSON.stringify(name)}: `, each];
}

function plainText(value: unknown): string {
  return JSON.stringify(value) ?? "null";
}
