import { pythonRegExp } from "../python-regexp.ts";
import { strip } from "../python-text.ts";

const finalAnswer = pythonRegExp("Final Answer: The final answer is(.*?). I hope it is correct.");

/** The answer behind "Final Answer: The final answer is", stripped; null where the phrase is not there. */
export function minervaAnswer(text: string): string | null {
  const match = finalAnswer.exec(`${text}I hope it is correct.`);
  return match === null ? null : strip(match[1]!);
}

const replaced: readonly (readonly [string, string])[] = [
  ["an ", ""],
  ["a ", ""],
  [".$", "$"],
  ["\\$", ""],
  ["\\ ", ""],
  [" ", ""],
  ["mbox", "text"],
  [",\\text{and}", ","],
  ["\\text{and}", ","],
  ["\\text{m}", "\\text{}"],
];

const removed: readonly string[] = [
  ..."square ways integers dollars mph inches ft hours km units \\ldots sue points feet minutes digits cents".split(
    " ",
  ),
  ..."degrees cm gm pounds meters meals edges students childrentickets multiples".split(" "),
  ..."\\text{s} \\text{.} \\text{\ns} \\text{}^2 \\text{}^3 \\text{\n} \\text{} \\mathrm{th}".split(" "),
  ...'^\\circ ^{\\circ} \\; ,\\! {,} " \\dots'.split(" "),
];

const unwrapped: readonly (readonly [RegExp, string])[] = [
  [pythonRegExp("(.*?)(\\$)(.*?)(\\$)(.*)", "g"), "$$$3$$"],
  [pythonRegExp("(\\\\text\\{)(.*?)(\\})", "g"), "$2"],
  [pythonRegExp("(\\\\textbf\\{)(.*?)(\\})", "g"), "$2"],
  [pythonRegExp("(\\\\overline\\{)(.*?)(\\})", "g"), "$2"],
  [pythonRegExp("(\\\\boxed\\{)(.*)(\\})", "g"), "$2"],
  [pythonRegExp("(frac)([^{])(.)", "g"), "frac{$2}{$3}"],
  [pythonRegExp("(sqrt)([^{])", "g"), "sqrt{$2}"],
];

/** A final answer without units, decoration and short forms (Lewkowycz et al. 2022, appendix D). */
export function normalizeFinalAnswer(answer: string): string {
  let text = answer.split("=").at(-1)!;
  for (const [from, to] of replaced) text = text.replaceAll(from, to);
  for (const each of removed) text = text.replaceAll(each, "");
  for (const [pattern, to] of unwrapped) text = text.replace(pattern, to);
  text = text.replaceAll("$", "");
  const digits = text.replaceAll(",", "");
  return /^\d+$/.test(digits) ? digits : text;
}

/** Equal texts, or plain numbers and fractions of equal value. lm-eval asks a computer algebra system here. */
export function areSameAnswer(first: string, second: string): boolean {
  if (first === second) return true;
  const [a, b] = [numberOf(first), numberOf(second)];
  return a !== null && b !== null && Math.abs(a - b) <= 1e-9 * Math.max(1, Math.abs(a), Math.abs(b));
}

function numberOf(text: string): number | null {
  const fraction = /^(-?)\\[dt]?frac\{(-?\d+(?:\.\d+)?)\}\{(\d+(?:\.\d+)?)\}$/.exec(text);
  if (fraction !== null) return ((fraction[1] === "-" ? -1 : 1) * Number(fraction[2])) / Number(fraction[3]);
  const slash = /^(-?\d+)\/(\d+)$/.exec(text);
  if (slash !== null) return Number(slash[1]) / Number(slash[2]);
  return /^-?(?:\d+\.?\d*|\.\d+)$/.test(text) ? Number(text) : null;
}
