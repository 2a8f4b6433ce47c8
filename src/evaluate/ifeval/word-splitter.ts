import { pythonRegExp } from "../python-regexp.ts";

type Rule = readonly [pattern: RegExp, replacement: string];

const rule = (pattern: string, replacement: string): Rule => [pythonRegExp(pattern, "g"), replacement];

/** NLTK's word tokenizer: the Penn Treebank's rules with additions, in order. */
const beforePadding: readonly Rule[] = [
  rule("([«“‘„]|[`]+)", " $1 "),
  rule('^"', "``"),
  rule("(``)", " $1 "),
  rule("([ \\(\\[{<])(\"|'{2})", "$1 `` "),
  rule("(?i)(')(?!re|ve|ll|m|t|s|d|n)(\\w)\\b", "$1 $2"),
  rule("([^\\.])(\\.)([\\]\\)}>\"'»”’ ]*)\\s*$", "$1 $2 $3 "),
  rule("([:,])([^\\d])", " $1 $2"),
  rule("([:,])$", " $1 "),
  rule("\\.{2,}", " $& "),
  rule("[;@#$%&]", " $& "),
  rule("([^\\.])(\\.)([\\]\\)}>\"']*)\\s*$", "$1 $2$3 "),
  rule("[?!]", " $& "),
  rule("([^'])' ", "$1 ' "),
  rule("[*]", " $& "),
  rule("[\\]\\[\\(\\)\\{\\}\\<\\>]", " $& "),
  rule("--", " -- "),
];

const afterPadding: readonly Rule[] = [
  rule("([»”’])", " $1 "),
  rule("''", " '' "),
  rule('"', " '' "),
  rule("\\s+", " "),
  rule("([^' ])('[sS]|'[mM]|'[dD]|') ", "$1 $2 "),
  rule("([^' ])('ll|'LL|'re|'RE|'ve|'VE|n't|N'T) ", "$1 $2 "),
  rule("(?i)\\b(can)(not)\\b", " $1 $2 "),
  rule("(?i)\\b(d)('ye)\\b", " $1 $2 "),
  rule("(?i)\\b(gim)(me)\\b", " $1 $2 "),
  rule("(?i)\\b(gon)(na)\\b", " $1 $2 "),
  rule("(?i)\\b(got)(ta)\\b", " $1 $2 "),
  rule("(?i)\\b(lem)(me)\\b", " $1 $2 "),
  rule("(?i)\\b(more)('n)\\b", " $1 $2 "),
  rule("(?i) ('t)(is)\\b", " $1 $2 "),
  rule("(?i) ('t)(was)\\b", " $1 $2 "),
];

const apply = (text: string, rules: readonly Rule[]): string =>
  rules.reduce((rest, [pattern, replacement]) => rest.replace(pattern, replacement), text);

/** The word tokens of one sentence. */
export function splitWords(sentence: string): string[] {
  const padded = ` ${apply(sentence, beforePadding)} `;
  return apply(padded, afterPadding)
    .split(/\s+/)
    .filter((word) => word !== "");
}
