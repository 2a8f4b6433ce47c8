import { pythonRegExp } from "../python-regexp.ts";
import { type MetricDefinition, share } from "./metric.ts";

export const exactMatch: MetricDefinition = share("exact_match");

export interface MatchOptions {
  /** Deleted from both sides, in order; Python's patterns. */
  readonly ignoredPatterns?: readonly string[];
  readonly ignoresCase?: boolean;
  /** ASCII punctuation. */
  readonly ignoresPunctuation?: boolean;
  /** ASCII digits. */
  readonly ignoresNumbers?: boolean;
}

const punctuation = /[!-/:-@[-`{-~]/g;

/** lm-eval's `exact_match`: 1 where both texts are equal after the same deletions. */
export function createExactMatch(options: MatchOptions = {}): (answer: string, target: string) => number {
  const patterns = (options.ignoredPatterns ?? []).map((pattern) => pythonRegExp(pattern, "g"));
  const clean = (text: string): string => {
    let kept = patterns.reduce((rest, pattern) => rest.replace(pattern, ""), text);
    if (options.ignoresCase === true) kept = kept.toLowerCase();
    if (options.ignoresPunctuation === true) kept = kept.replace(punctuation, "");
    return options.ignoresNumbers === true ? kept.replace(/\d/g, "") : kept;
  };
  return (answer, target) => (clean(answer) === clean(target) ? 1 : 0);
}
