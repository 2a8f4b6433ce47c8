import { pythonRegExp } from "../python-regexp.ts";
import { isLower, isUpper, stripEnd } from "../python-text.ts";

/** What a Punkt model knows of a language. */
export interface PunktParameters {
  /** In lower case, without the last period. */
  readonly abbreviations: ReadonlySet<string>;
  /** "first\tsecond": words that stand together across a period. */
  readonly collocations: ReadonlySet<string>;
  readonly sentenceStarters: ReadonlySet<string>;
  /** How often-seen words were written: bits of `ortho`. */
  readonly orthography: ReadonlyMap<string, number>;
}

const ortho = { middleUpper: 1 << 2, beginLower: 1 << 4, anyUpper: 0b1110, anyLower: 0b1110000 } as const;

const nonWord = "(?:[)\";}\\]\\*:@\\'\\({\\[?!])";
const multiChar = "(?:\\-{2,}|\\.{2,}|(?:\\.\\s){2,}\\.)";
const wordStart = '[^\\("`{\\[:;&#\\*@\\)}\\]\\-,]';
const potentialEnd = pythonRegExp(`[.?!](?=(?P<after>${nonWord}|\\s+(?P<next>\\S+)))`, "g");
const word = pythonRegExp(
  `(${multiChar}|(?=${wordStart})\\S+?(?=\\s|$|${nonWord}|${multiChar}|,(?=$|\\s|${nonWord}|${multiChar}))|\\S)`,
  "g",
);
const closing = pythonRegExp("^[\"')\\]}]+?(?:\\s+|(?=--)|$)", "m");
const number = pythonRegExp("^-?[\\.,]?\\d[\\d,\\.-]*\\.?$");
const initial = /^[\p{L}_]\.$/u;

interface Token {
  readonly text: string;
  readonly type: string;
  isBreak: boolean;
  isAbbreviation: boolean;
  readonly isEllipsis: boolean;
}

interface Span {
  readonly start: number;
  readonly end: number;
}

/**
 * Splits English text into sentences by Punkt (Kiss and Strunk 2006, "Unsupervised Multilingual Sentence Boundary
 * Detection") with trained parameters, in the form that NLTK 3.10 gives it.
 */
export class SentenceSplitter {
  readonly #parameters: PunktParameters;

  constructor(parameters: PunktParameters) {
    this.#parameters = parameters;
  }

  split(text: string): string[] {
    const spans = [...realigned(text, this.#slices(text))];
    return spans.map(({ start, end }) => text.slice(start, end));
  }

  #slices(text: string): Span[] {
    const slices: Span[] = [];
    let lastBreak = 0;
    for (const { match, context } of contextsOf(text)) {
      if (!this.#hasBreak(context)) continue;
      const end = match.index + 1;
      slices.push({ start: lastBreak, end });
      const next = match.groups?.["next"];
      lastBreak = next === undefined ? end : end + match.groups!["after"]!.length - next.length;
    }
    slices.push({ start: lastBreak, end: stripEnd(text).length });
    return slices;
  }

  /** Whether a sentence ends within a context, before its last token. */
  #hasBreak(context: string): boolean {
    const tokens = context.split("\n").flatMap((line) => Array.from(line.matchAll(word), ([each]) => each));
    const marked = tokens.map((token) => this.#mark(token));
    for (const [index, token] of marked.entries()) this.#revise(token, marked[index + 1]);
    return marked.slice(0, -1).some((token) => token.isBreak);
  }

  #mark(text: string): Token {
    const type = text.toLowerCase().replace(number, "##number##");
    const isEllipsis = /^\.\.+$/.test(text);
    const token = { text, type, isBreak: false, isAbbreviation: false, isEllipsis };
    if (text === "." || text === "?" || text === "!") token.isBreak = true;
    else if (!isEllipsis && text.endsWith(".") && !text.endsWith("..")) {
      const stem = text.slice(0, -1).toLowerCase();
      const { abbreviations } = this.#parameters;
      token.isAbbreviation = abbreviations.has(stem) || abbreviations.has(stem.split("-").at(-1)!);
      token.isBreak = !token.isAbbreviation;
    }
    return token;
  }

  /** Looks at the word after a period: collocations, abbreviations that end a sentence, initials and ordinals. */
  #revise(token: Token, next: Token | undefined): void {
    if (next === undefined || !token.text.endsWith(".")) return;
    const type = withoutPeriod(token.type);
    const nextType = next.isBreak ? withoutPeriod(next.type) : next.type;
    const isInitial = initial.test(token.text);
    if (this.#parameters.collocations.has(`${type}\t${nextType}`)) return asAbbreviation(token);
    const isStarter = this.#startsSentence(next, nextType);
    if ((token.isAbbreviation || token.isEllipsis) && !isInitial) {
      const isKnown = isUpper(firstOf(next)) && this.#parameters.sentenceStarters.has(nextType);
      if (isStarter === true || isKnown) {
        token.isBreak = true;
        return;
      }
    }
    if (!isInitial && type !== "##number##") return;
    const isNeverLower = (this.#orthographyOf(nextType) & ortho.anyLower) === 0;
    const isName = isStarter === null && isInitial && isUpper(firstOf(next)) && isNeverLower;
    if (isStarter === false || isName) asAbbreviation(token);
  }

  /** By how the word is written here and was seen elsewhere; null where that says nothing. */
  #startsSentence(token: Token, type: string): boolean | null {
    if (/^[;:,.!?]$/.test(token.text)) return false;
    const seen = this.#orthographyOf(type);
    if (isUpper(firstOf(token)) && (seen & ortho.anyLower) !== 0 && (seen & ortho.middleUpper) === 0)
      return true;
    const isOddLower = (seen & ortho.anyUpper) !== 0 || (seen & ortho.beginLower) === 0;
    return isLower(firstOf(token)) && isOddLower ? false : null;
  }

  #orthographyOf(type: string): number {
    return this.#parameters.orthography.get(type) ?? 0;
  }
}

function asAbbreviation(token: Token): void {
  token.isBreak = false;
  token.isAbbreviation = true;
}

function withoutPeriod(type: string): string {
  return type.length > 1 && type.endsWith(".") ? type.slice(0, -1) : type;
}

function firstOf({ text }: Token): string {
  return String.fromCodePoint(text.codePointAt(0)!);
}

/** Each sign that may end a sentence, with the word before it and what follows; overlapping ones only once, the last. */
function* contextsOf(text: string): Generator<{ readonly match: RegExpExecArray; readonly context: string }> {
  let previous: { readonly match: RegExpExecArray; readonly start: number } | null = null;
  const contextOf = ({ match, start }: { match: RegExpExecArray; start: number }): string =>
    text.slice(start, match.index) + match[0] + match.groups!["after"]!;
  for (const match of text.matchAll(potentialEnd)) {
    const before: number = previous?.match.index ?? 0;
    const space = lastSpace(text.slice(before, match.index));
    const start: number = space > 0 ? before + space + 1 : (previous?.start ?? 0);
    if (previous !== null && previous.match.index <= start)
      yield { match: previous.match, context: contextOf(previous) };
    previous = { match, start };
  }
  if (previous !== null) yield { match: previous.match, context: contextOf(previous) };
}

function lastSpace(text: string): number {
  for (let at = text.length - 1; at >= 0; at -= 1) if (/\s/.test(text[at]!)) return at;
  return 0;
}

/** Closing quotes and brackets after a sentence's end belong to it. */
function* realigned(text: string, slices: readonly Span[]): Generator<Span> {
  let moved = 0;
  for (const [index, slice] of slices.entries()) {
    const start = slice.start + moved;
    const next = slices[index + 1];
    const match = next === undefined ? null : closing.exec(text.slice(next.start, next.end));
    if (next !== undefined && match !== null) {
      yield { start, end: next.start + stripEnd(match[0]).length };
      moved = match[0].length;
    } else {
      moved = 0;
      if (slice.end > start) yield { start, end: slice.end };
    }
  }
}
