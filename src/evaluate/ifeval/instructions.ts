import { pythonRegExp } from "../python-regexp.ts";
import { isLower, isUpper, splitOnSpace, strip } from "../python-text.ts";
import type { Row } from "../row-reader.ts";
import type { LanguageDetector } from "./language-detector.ts";
import type { SentenceSplitter } from "./sentence-splitter.ts";
import { splitWords } from "./word-splitter.ts";

/** What some checks know of languages. */
export interface LanguageTools {
  readonly detector: LanguageDetector;
  readonly sentences: SentenceSplitter;
}

/** Whether a response follows an instruction with these parameters. */
type Check = (response: string, parameters: Row, tools: LanguageTools) => boolean;

const count = (pattern: string, text: string, flags = ""): number =>
  Array.from(text.matchAll(pythonRegExp(pattern, `g${flags}`))).length;

/** "less than" is strict; the other relation is "at least". */
const compare = (value: number, relation: unknown, threshold: unknown): boolean =>
  relation === "less than" ? value < Number(threshold) : value >= Number(threshold);

const texts = (value: unknown): string[] => (Array.isArray(value) ? value.map(String) : []);

/** Text parameters are stripped, as the checkers' authors do. */
const textOf = (value: unknown): string => strip(String(value));

/** The 25 kinds of verifiable instructions of IFEval (Zhou et al. 2023), as lm-eval's version 4 checks them. */
export const instructionChecks: Readonly<Record<string, Check>> = {
  "keywords:existence": (text, { keywords }) => texts(keywords).every((each) => count(each, text, "i") > 0),
  "keywords:frequency": (text, { keyword, frequency, relation }) =>
    compare(count(textOf(keyword), text, "i"), relation, frequency),
  "keywords:forbidden_words": (text, { forbidden_words: words }) =>
    texts(words).every((each) => count(`\\b${each}\\b`, text, "i") === 0),
  "keywords:letter_frequency": (text, { letter, let_frequency: frequency, let_relation: relation }) => {
    const wanted = textOf(letter).toLowerCase();
    const found = Array.from(text.toLowerCase()).filter((each) => each === wanted).length;
    return compare(found, relation, frequency);
  },
  "language:response_language": (text, { language }, { detector }) => {
    const detected = detector.detect(text);
    return detected === null || detected === language;
  },
  "length_constraints:number_sentences": (text, { num_sentences: wanted, relation }, { sentences }) =>
    compare(sentences.split(text).length, relation, wanted),
  "length_constraints:number_paragraphs": (text, { num_paragraphs: wanted }) =>
    numParts(text.split(pythonRegExp("\\s?\\*\\*\\*\\s?"))) === wanted,
  "length_constraints:number_words": (text, { num_words: wanted, relation }) =>
    compare(count("\\w+", text), relation, wanted),
  "length_constraints:nth_paragraph_first_word": hasFirstWord,
  "detectable_content:number_placeholders": (text, { num_placeholders: wanted }) =>
    count("\\[.*?\\]", text) >= Number(wanted),
  "detectable_content:postscript": (text, { postscript_marker: marker }) =>
    count(postscriptPattern(textOf(marker)), text.toLowerCase(), "m") > 0,
  "detectable_format:number_bullet_lists": (text, { num_bullets: wanted }) =>
    count("^\\s*\\*[^\\*].*$", text, "m") + count("^\\s*-.*$", text, "m") === wanted,
  "detectable_format:constrained_response": (text) =>
    ["yes", "no", "maybe"].some((answer) => strip(text).includes(`My answer is ${answer}.`)),
  "detectable_format:number_highlighted_sections": (text, { num_highlights: wanted }) =>
    numHighlights(text) >= Number(wanted),
  "detectable_format:multiple_sections": (text, { section_spliter: mark, num_sections: wanted }) =>
    text.split(pythonRegExp(`\\s?${textOf(mark)}\\s?\\d+\\s?`)).length - 1 >= Number(wanted),
  "detectable_format:json_format": isJson,
  "detectable_format:title": (text) =>
    (text.match(/<<[^\n]+>>/g) ?? []).some(
      (title) => strip(title.replace(/^<+/, "").replace(/>+$/, "")) !== "",
    ),
  "combination:two_responses": (text) => {
    const parts = text.split("******");
    const valid = parts.map(strip).filter((part) => part !== "");
    return numParts(parts) === 2 && valid[0] !== valid[1];
  },
  "combination:repeat_prompt": (text, { prompt_to_repeat: prompt }) =>
    strip(text).toLowerCase().startsWith(textOf(prompt).toLowerCase()),
  "startend:end_checker": (text, { end_phrase: phrase }) =>
    strip(text)
      .replace(/^"+|"+$/g, "")
      .toLowerCase()
      .endsWith(textOf(phrase).toLowerCase()),
  "startend:quotation": (text) => {
    const inner = strip(text);
    return inner.length > 1 && inner.startsWith('"') && inner.endsWith('"');
  },
  "change_case:capital_word_frequency": (text, parameters, { sentences }) => {
    const { capital_frequency: wanted, capital_relation: relation } = parameters;
    const words = sentences.split(text).flatMap(splitWords);
    return compare(words.filter(isUpper).length, relation, wanted);
  },
  "change_case:english_capital": (text, _parameters, { detector }) =>
    isUpper(text) && isEnglish(detector, text),
  "change_case:english_lowercase": (text, _parameters, { detector }) =>
    isLower(text) && isEnglish(detector, text),
  "punctuation:no_comma": (text) => !text.includes(","),
};

/** Parts that are not empty; NaN, equal to nothing, where an inner part is. */
function numParts(parts: readonly string[]): number {
  const isEmpty = parts.map((part) => strip(part) === "");
  if (isEmpty.slice(1, -1).includes(true)) return Number.NaN;
  return isEmpty.filter((each) => !each).length;
}

/** Paragraph numbers count empty ones, their total does not. */
function hasFirstWord(text: string, parameters: Row): boolean {
  const { num_paragraphs: wanted, nth_paragraph: nth, first_word: word } = parameters;
  const paragraphs = text.split("\n\n").map(strip);
  const numFilled = paragraphs.filter((paragraph) => paragraph !== "").length;
  const paragraph = paragraphs[Number(nth) - 1] ?? "";
  if (Number(nth) > numFilled || paragraph === "") return false;
  const first = splitOnSpace(paragraph)[0]!.replace(/^'+/, "").replace(/^"+/, "");
  return numFilled === wanted && first.split(/[.,?!'"]/, 1)[0]!.toLowerCase() === String(word).toLowerCase();
}

function postscriptPattern(marker: string): string {
  if (marker === "P.P.S") return "\\s*p\\.\\s?p\\.\\s?s.*$";
  return marker === "P.S." ? "\\s*p\\.\\s?s\\..*$" : `\\s*${marker.toLowerCase()}.*$`;
}

/** Text in single and in double asterisks; bold text counts in both. */
function numHighlights(text: string): number {
  const single = (text.match(/\*[^\n*]*\*/g) ?? []).map((each) => each.replace(/^\*+|\*+$/g, ""));
  const double = (text.match(/\*\*[^\n*]*\*\*/g) ?? []).map((each) => each.slice(2, -2));
  return [...single, ...double].filter((each) => strip(each) !== "").length;
}

function isEnglish(detector: LanguageDetector, text: string): boolean {
  const detected = detector.detect(text);
  return detected === null || detected === "en";
}

/** JSON, in a fence or not; Python also takes NaN and Infinity. */
function isJson(text: string): boolean {
  let body = strip(text);
  for (const fence of ["```json", "```Json", "```JSON", "```"])
    if (body.startsWith(fence)) body = body.slice(fence.length);
  if (body.endsWith("```")) body = body.slice(0, -3);
  const standard = strip(body).replace(/"(?:[^"\\]|\\.)*"|-?\b(?:NaN|Infinity)\b/g, (token) =>
    token.startsWith('"') ? token : "0",
  );
  try {
    JSON.parse(standard);
    return true;
  } catch (error) {
    if (error instanceof SyntaxError) return false;
    throw error;
  }
}

/** Whether the response follows each instruction, taken as it is. */
export function checkStrictly(
  response: string,
  instructions: readonly Instruction[],
  tools: LanguageTools,
): boolean[] {
  return instructions.map(
    ({ id, parameters }) => strip(response) !== "" && instructionChecks[id]!(response, parameters, tools),
  );
}

/** The same without first or last line, or without asterisks: an introduction or emphasis does no harm. */
export function checkLoosely(
  response: string,
  instructions: readonly Instruction[],
  tools: LanguageTools,
): boolean[] {
  const lines = response.split("\n");
  const cuts = [lines.slice(1), lines.slice(0, -1), lines.slice(1, -1)].map((kept) => strip(kept.join("\n")));
  const variants = [response, ...cuts].flatMap((text) => [text, text.replaceAll("*", "")]);
  return instructions.map(({ id, parameters }) =>
    variants.some((text) => strip(text) !== "" && instructionChecks[id]!(text, parameters, tools)),
  );
}

export interface Instruction {
  readonly id: string;
  readonly parameters: Row;
}
