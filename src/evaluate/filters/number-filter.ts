import { pythonRegExp } from "../python-regexp.ts";
import { selectMatch } from "./choice-filters.ts";
import { type Filter, invalidAnswer } from "./filter.ts";

const small = new Map<string, number>(
  `zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
  eighteen nineteen`
    .split(/\s+/)
    .map((word, value) => [word, value]),
);
const tens = new Map<string, number>(
  "twenty thirty forty fifty sixty seventy eighty ninety".split(" ").map((word, i) => [word, 20 + 10 * i]),
);
const scales = new Map([
  ["thousand", 1e3],
  ["million", 1e6],
  ["billion", 1e9],
  ["trillion", 1e12],
]);

/** Words that may stand alone or last; "six", "seven" and "nine" may not, as in lm-eval's pattern. */
const word =
  "zero|one|two|three|four|five|(?:twen|thir|for|fif|six|seven|nine)(?:teen|ty)|eight(?:|een|y)|ten|eleven|twelve|fourteen|hundred|thousand|(?:m|b|tr)illion";
const innerWord = word.replace("(?:teen|ty)", "(?:|teen|ty)");
const writtenNumber = pythonRegExp(
  `((?:(?:${word})(?:${innerWord}|[^\\S\\r\\n]|,|and|&)+)?(?:${word}))`,
  "g",
);
const digits = pythonRegExp("([-0-9]+)", "g");

/** lm-eval's filter of BBH's counting questions: digits, else a number in English words as digits. */
export function numberFilter(select: number): Filter {
  return (answer) => {
    const number = selectMatch(digits, answer, select);
    if (number !== "") return number;
    const written = selectMatch(writtenNumber, answer.toLowerCase(), select);
    return written === "" ? invalidAnswer : String(numberOfWords(written));
  };
}

/** "two hundred and five" → 205. Words that are no numbers are passed over. */
export function numberOfWords(text: string): number {
  let total = 0;
  let current = 0;
  for (const each of text.match(/[a-z]+/g) ?? []) {
    const value = small.get(each) ?? tens.get(each);
    const scale = scales.get(each);
    if (value !== undefined) current += value;
    else if (each === "hundred") current = Math.max(1, current) * 100;
    else if (scale !== undefined) {
      total += Math.max(1, current) * scale;
      current = 0;
    }
  }
  return total + current;
}
