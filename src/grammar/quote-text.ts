/** A text as a literal of EBNF: printable ASCII as it is, everything else by its number. */
export function quoteText(text: string): string {
  const inner = Array.from(text, (character) => {
    const code = character.codePointAt(0)!;
    const isPlain = code >= 0x20 && code < 0x7f && character !== '"' && character !== "\\";
    return isPlain ? character : `\\U${code.toString(16).padStart(8, "0")}`;
  });
  return `"${inner.join("")}"`;
}

/** One of several texts. What they begin with alike stands once, so that all choices are told apart by one character. */
export function quoteTexts(texts: readonly string[]): string {
  const parts = alternatives([...new Set(texts)].map((text) => Array.from(text)));
  return parts.length === 1 ? parts[0]! : `(${parts.join(" | ")})`;
}

function alternatives(texts: readonly (readonly string[])[]): string[] {
  const byFirst = new Map<string, (readonly string[])[]>();
  for (const text of texts) {
    const first = text[0] ?? "";
    byFirst.set(first, [...(byFirst.get(first) ?? []), text]);
  }
  return Array.from(byFirst, ([first, own]) => {
    if (first === "") return '""';
    if (own.length === 1) return quoteText(own[0]!.join(""));
    let numAlike = 1;
    while (own.every((text) => text[numAlike] !== undefined && text[numAlike] === own[0]![numAlike]))
      numAlike += 1;
    const rest = alternatives(own.map((text) => text.slice(numAlike)));
    return `${quoteText(own[0]!.slice(0, numAlike).join(""))} (${rest.join(" | ")})`;
  });
}
