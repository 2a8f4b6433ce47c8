import { pythonRegExp } from "../python-regexp.ts";
import { strip } from "../python-text.ts";
import { type Filter, invalidAnswer } from "./filter.ts";

/**
 * lm-eval's `regex`: match number `select` of all (−1 = the last), of several groups the first that is not empty,
 * stripped; `[invalid]` where nothing matches. `pattern` is written as in Python.
 */
export function regexFilter(pattern: string, select = 0, fallback: string = invalidAnswer): Filter {
  const regexp = pythonRegExp(pattern, "g");
  return (answer) => {
    const found = findAll(regexp, answer).at(select);
    if (found === undefined) return fallback;
    return strip(found.length === 1 ? found[0]! : (found.find((part) => part !== "") ?? fallback));
  };
}

/** `re.findall`: the whole match where the pattern has no group, else its groups. */
export function findAll(regexp: RegExp, text: string): string[][] {
  return Array.from(text.matchAll(regexp), (match) =>
    match.length === 1 ? [match[0]] : match.slice(1).map((group) => group ?? ""),
  );
}
