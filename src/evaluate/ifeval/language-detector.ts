import { PythonRandom } from "../prompts/python-random.ts";
import { isUpper, numCodePoints } from "../python-text.ts";

/** How often letter n-grams of one to three characters stand in the texts of a language. */
export interface LanguageProfile {
  readonly freq: Readonly<Record<string, number>>;
  /** Totals of n-grams of length 1, 2 and 3. */
  readonly n_words: readonly number[];
}

const numTrials = 7;
const alphaMean = 0.5;
const alphaDeviation = 0.05;
const baseFrequency = 10_000;
const enough = 0.99999;
const maxIterations = 1000;
const minProbability = 0.1;
const maxTextLength = 10_000;

/**
 * Tells the language of a text by naive Bayes over letter n-grams (Nakatani's language-detection, as Python's
 * `langdetect` has it). That draws n-grams at random, unseeded in lm-eval; here each text starts from seed 0, so that
 * equal texts give equal answers. Chinese characters are not folded to common ones.
 */
export class LanguageDetector {
  readonly #languages: readonly string[];
  /** n-gram → its probability in each language. */
  readonly #probabilities = new Map<string, Float64Array>();

  constructor(profiles: Readonly<Record<string, LanguageProfile>>) {
    this.#languages = Object.keys(profiles);
    for (const [index, { freq, n_words: totals }] of Object.values(profiles).entries()) {
      for (const [gram, count] of Object.entries(freq)) {
        const total = totals[numCodePoints(gram) - 1];
        if (total === undefined) continue;
        let row = this.#probabilities.get(gram);
        if (row === undefined)
          this.#probabilities.set(gram, (row = new Float64Array(this.#languages.length)));
        row[index] = count / total;
      }
    }
  }

  /** The ISO 639-1 code of the likeliest language, "unknown", or null where the text has no known letters. */
  detect(text: string): string | null {
    const grams = this.#gramsOf(withoutLatinAmongOthers(cleaned(text)));
    if (grams.length === 0) return null;
    const random = new PythonRandom(0);
    const likelihood = new Float64Array(this.#languages.length);
    for (let trial = 0; trial < numTrials; trial += 1) {
      const probability = this.#runTrial(grams, random);
      for (const [i, value] of probability.entries()) likelihood[i]! += value / numTrials;
    }
    const best = likelihood.indexOf(Math.max(...likelihood));
    return likelihood[best]! > minProbability ? this.#languages[best]! : "unknown";
  }

  #runTrial(grams: readonly string[], random: PythonRandom): Float64Array {
    const probability = new Float64Array(this.#languages.length).fill(1 / this.#languages.length);
    const weight = (alphaMean + random.gauss() * alphaDeviation) / baseFrequency;
    for (let i = 0; ; i += 1) {
      const row = this.#probabilities.get(grams[random.below(grams.length)]!)!;
      for (let j = 0; j < row.length; j += 1) probability[j]! *= weight + row[j]!;
      if (i % 5 === 0 && (normalize(probability) > enough || i >= maxIterations)) return probability;
    }
  }

  /** Known n-grams of up to three characters; words in capitals are passed over. */
  #gramsOf(text: string): string[] {
    const grams: string[] = [];
    let buffer = [" "];
    let isCapitalWord = false;
    for (const raw of text) {
      const char = folded(raw);
      const last = buffer.at(-1)!;
      if (last === " ") {
        buffer = [" "];
        isCapitalWord = false;
        if (char === " ") continue;
      } else if (buffer.length >= 3) buffer.shift();
      buffer.push(char);
      if (!isUpper(char)) isCapitalWord = false;
      else if (isUpper(last)) isCapitalWord = true;
      if (isCapitalWord) continue;
      for (let n = 1; n <= buffer.length; n += 1) {
        const gram = buffer.slice(-n).join("");
        if (gram !== " " && this.#probabilities.has(gram)) grams.push(gram);
      }
    }
    return grams;
  }
}

/** Divides by the sum and gives the largest value. */
function normalize(probability: Float64Array): number {
  let total = 0;
  for (const value of probability) total += value;
  let largest = 0;
  for (let i = 0; i < probability.length; i += 1) {
    probability[i]! /= total;
    largest = Math.max(largest, probability[i]!);
  }
  return largest;
}

/** Without addresses and runs of blanks; Vietnamese letters with loose accents are joined. */
function cleaned(text: string): string {
  const plain = text
    .replace(/https?:\/\/[-_.?&~;+=/#0-9A-Za-z]{1,2076}/g, " ")
    .replace(/[-_.0-9A-Za-z]{1,64}@[-_0-9A-Za-z]{1,255}[-_.0-9A-Za-z]{1,255}/g, " ")
    .replace(/[A-Za-z\u00C0-\u01B0][\u0300\u0301\u0303\u0309\u0323]/g, (letter) => letter.normalize("NFC"));
  return Array.from(plain).slice(0, maxTextLength).join("").replace(/ {2,}/g, " ");
}

/** Where other scripts outweigh it by far, Latin text is names and quotations. */
function withoutLatinAmongOthers(text: string): string {
  let numLatin = 0;
  let numOther = 0;
  for (const char of text) {
    if (char >= "A" && char <= "z") numLatin += 1;
    else if (char >= "\u0300" && !(char >= "\u1E00" && char <= "\u1EFF")) numOther += 1;
  }
  return numLatin * 2 < numOther ? text.replace(/[A-z]/g, "") : text;
}

/** What is no letter becomes a blank; letters that a language has too many of become one. */
function folded(char: string): string {
  const code = char.codePointAt(0)!;
  if (code < 0x80) return /[A-Za-z]/.test(char) ? char : " ";
  if (code < 0x100) return "\u00A0\u00AB\u00B0\u00BB".includes(char) ? " " : char;
  if (char === "\u0219") return "\u015F";
  if (char === "\u021B") return "\u0163";
  if (char === "\u06CC") return "\u064A";
  if (code >= 0x1ea0 && code <= 0x1eff) return "\u1EC3";
  if (code >= 0x2000 && code <= 0x206f) return " ";
  if (code >= 0x3040 && code <= 0x309f) return "\u3042";
  if (code >= 0x30a0 && code <= 0x30ff) return "\u30A2";
  if ((code >= 0x3100 && code <= 0x312f) || (code >= 0x31a0 && code <= 0x31bf)) return "\u3105";
  if (code >= 0xac00 && code <= 0xd7af) return "\uAC00";
  return char;
}
