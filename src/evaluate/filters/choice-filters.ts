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

/** lm-eval's `multi_choice_regex`. */
export interface LetterFilterOptions {
  /** Python's pattern of a lettered answer. */
  readonly pattern: string;
  readonly select: number;
  readonly fallback?: string;
  /** What is taken off answer and choices before the text of a choice is looked for. */
  readonly ignoredPatterns?: readonly string[];
  readonly ignoresCase?: boolean;
  /** All of Unicode's. */
  readonly ignoresPunctuation?: boolean;
}

/**
 * The letter of a choice in brackets: what the pattern finds; else the letter of the choice whose text the answer has,
 * long ones before short ones; else a letter behind a colon.
 */
export function choiceLetterFilter(
  options: LetterFilterOptions,
  choicesOf: (question: Question) => readonly string[],
): Filter {
  const { select, fallback = invalidAnswer } = options;
  const pattern = pythonRegExp(options.pattern, "g");
  const clean = cleaner(options);
  return (answer, question) => {
    const choices = choicesOf(question).map((choice) => clean(strip(choice)));
    return (
      selectMatch(pattern, answer, select) ||
      choiceByText(clean(answer), choices, select) ||
      letterBehindColon(answer, choices.length, select) ||
      fallback
    );
  };
}

function cleaner(options: LetterFilterOptions): (text: string) => string {
  const patterns = (options.ignoredPatterns ?? []).map((each) => pythonRegExp(each, "g"));
  return (text) => {
    let kept = patterns.reduce((rest, pattern) => rest.replace(pattern, ""), text);
    if (options.ignoresCase === true) kept = kept.toLowerCase();
    return options.ignoresPunctuation === true ? kept.replace(/\p{P}/gu, "") : kept;
  };
}

/** The options of a BBH question, up to the line's end or the next bracket. */
const option = pythonRegExp("\\([A-Z]\\)([^\\n^(]*)", "g");

/** The filter of BBH's lettered questions, whose choices stand in the question. */
export function bbhLetterFilter(select: number): Filter {
  return choiceLetterFilter(
    { pattern: "(\\([A-Z]\\))", select, ignoresCase: true, ignoresPunctuation: true },
    ({ doc }) => findAll(option, String(doc["input"])).map(([text]) => text!),
  );
}

const letterOf = (index: number): string => String.fromCodePoint(65 + index);

function choiceByText(answer: string, choices: readonly string[], select: number): string {
  const letters = new Map(choices.map((text, index) => [text, `(${letterOf(index)})`]));
  const anyChoice = choices
    .toSorted((a, b) => b.length - a.length)
    .map((text) => text.replace(/[$()*+.?[\\\]^{|}]/g, "\\$&"))
    .join("|");
  const match = selectMatch(new RegExp(anyChoice, "gu"), answer, select);
  return letters.get(match) ?? match;
}

function letterBehindColon(answer: string, numChoices: number, select: number): string {
  const letters = Array.from({ length: numChoices }, (_, index) => letterOf(index));
  const match = selectMatch(pythonRegExp(`:[\\s]*(${letters.join("|")})`, "g"), answer, select);
  return match === "" ? "" : `(${match})`;
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
