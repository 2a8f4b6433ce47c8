import { pythonRegExp } from "../python-regexp.ts";
import { strip } from "../python-text.ts";
import type { Question } from "../task.ts";
import { type Filter, invalidAnswer } from "./filter.ts";
import { findAll } from "./regex-filter.ts";

/** Match number `select` of all, its first group that is not empty, stripped; "" where there is none. */
export function selectMatch(regexp: RegExp, text: string, select: number): string {
  return strip(
    findAll(regexp, text)
      .at(select)
      ?.find((part) => part !== "") ?? "",
  );
}

const letter = pythonRegExp("(\\([A-Z]\\))", "g");
/** The options of a question, up to the line's end or the next bracket. */
const option = pythonRegExp("\\([A-Z]\\)([^\\n^(]*)", "g");

/**
 * lm-eval's filter of BBH's lettered questions: a letter in brackets; else the text of an option, without case and
 * punctuation; else a letter behind a colon.
 */
export function choiceLetterFilter(select: number): Filter {
  return (answer, question) =>
    selectMatch(letter, answer, select) ||
    optionByText(answer, question, select) ||
    letterBehindColon(answer, question, select) ||
    invalidAnswer;
}

function optionsOf({ doc }: Question): string[] {
  return findAll(option, String(doc["input"])).map(([text]) => strip(text!));
}

const bracketed = (index: number): string => `(${String.fromCodePoint(65 + index)})`;

function optionByText(answer: string, question: Question, select: number): string {
  const options = optionsOf(question).map(plain);
  const letters = new Map(options.map((text, index) => [text, bracketed(index)]));
  const anyOption = new RegExp(
    options.map((text) => text.replace(/[$()*+.?[\\\]^{|}]/g, "\\$&")).join("|"),
    "gu",
  );
  const match = selectMatch(anyOption, plain(answer), select);
  return letters.get(match) ?? match;
}

function letterBehindColon(answer: string, question: Question, select: number): string {
  const letters = optionsOf(question).map((_, index) => String.fromCodePoint(65 + index));
  const match = selectMatch(pythonRegExp(`:[\\s]*(${letters.join("|")})`, "g"), answer, select);
  return match === "" ? "" : `(${match})`;
}

/** In lower case, without any Unicode punctuation. */
function plain(text: string): string {
  return text.toLowerCase().replace(/\p{P}/gu, "");
}

/**
 * lm-eval's filter that maps phrases to answers: of all matches of any phrase one is chosen, then the first pattern
 * that fits it gives the answer. Case does not count.
 */
export function phraseFilter(answers: Readonly<Record<string, string>>, select: number): Filter {
  const anyPhrase = pythonRegExp(Object.keys(answers).join("|"), "g");
  const patterns = Object.entries(answers).map(
    ([pattern, value]) => [pythonRegExp(pattern, "g"), value] as const,
  );
  return (answer) => {
    const phrase = selectMatch(anyPhrase, answer.toLowerCase(), select);
    if (phrase === "") return invalidAnswer;
    const fitting = patterns.find(([pattern]) => selectMatch(pattern, phrase, select) !== "");
    return fitting?.[1] ?? invalidAnswer;
  };
}

/** The question's words in the order in which the answer names each for the last time. */
export const sortedWordsFilter: Filter = (answer, { doc }) => {
  const list = strip(String(doc["input"]).split("List:")[1] ?? "");
  const words = list.split(/\s+/);
  const anyWord = pythonRegExp(words.map((word) => `\\b${word}\\b`).join("|"), "g");
  const named = findAll(anyWord, answer).map(([word]) => word!);
  return [...new Set(named.toReversed())].toReversed().join(" ");
};
