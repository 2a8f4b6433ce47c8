import type { FirstTokenReader, TokenLogprob } from "../../protocol/completer.ts";
import { sum } from "../statistics.ts";
import type { AnswerPair, JudgedPair, PairJudge } from "./preference.ts";

/**
 * Judges pairs by the log-probabilities of A and B as the first token of the judge's answer: no text has to have a form.
 * Asked in both orders. A judge's liking for a place adds the same to the log-odds of A in both, so half of their
 * difference is what the answers themselves make (Zheng et al. 2023, section 3.4, swap positions for the same end).
 * Null where neither letter is among the likeliest tokens.
 */
export function choiceJudge(reader: FirstTokenReader): PairJudge {
  return async (pair, signal) => {
    const oddsOf = async (a: string, b: string): Promise<number | null> => {
      const messages = [{ role: "user", content: choicePrompt(pair, a, b) }];
      const { tokens } = await reader.firstTokens(messages, signal);
      return logOdds(tokens, "A", "B");
    };
    const straight = await oddsOf(pair.first, pair.second);
    const swapped = await oddsOf(pair.second, pair.first);
    if (straight === null || swapped === null) return null;
    return judgedBy((straight - swapped) / 2, straight * swapped > 0);
  };
}

/**
 * Judges pairs by a rating of each answer alone, from 1 to 5, weighted by the probabilities of the five tokens (G-Eval:
 * Liu et al. 2023, section 3). There is no place to prefer. Null where no rating is among the likeliest tokens.
 */
export function ratingJudge(reader: FirstTokenReader): PairJudge {
  return async (pair, signal) => {
    const rate = async (answer: string): Promise<number | null> => {
      const messages = [{ role: "user", content: ratingPrompt(pair, answer) }];
      const { tokens } = await reader.firstTokens(messages, signal);
      return weightedRating(tokens);
    };
    const [first, second] = [await rate(pair.first), await rate(pair.second)];
    return first === null || second === null ? null : judgedBy(first - second, false);
  };
}

function judgedBy(margin: number, isBiased: boolean): JudgedPair {
  const preference = margin === 0 ? "tie" : margin > 0 ? "first" : "second";
  return { preference, isBiased, margin };
}

/**
 * ln of how many times likelier `a` is than `b`. One that is not listed counts as likely as the last that is, which it
 * is at most; null where neither is.
 */
export function logOdds(tokens: readonly TokenLogprob[], a: string, b: string): number | null {
  const [ofA, ofB] = [probabilityOf(tokens, a), probabilityOf(tokens, b)];
  if (ofA === 0 && ofB === 0) return null;
  const least = Math.exp(Math.min(...tokens.map(({ logprob }) => logprob)));
  return Math.log(ofA === 0 ? least : ofA) - Math.log(ofB === 0 ? least : ofB);
}

const ratings = [1, 2, 3, 4, 5];

/** Σ p(r)·r / Σ p(r) over the ratings that are listed; null where none is. */
export function weightedRating(tokens: readonly TokenLogprob[]): number | null {
  const weights = ratings.map((rating) => probabilityOf(tokens, String(rating)));
  const total = sum(weights);
  return total === 0 ? null : sum(weights.map((weight, i) => weight * ratings[i]!)) / total;
}

/** Of all tokens that are the label but for white space. */
function probabilityOf(tokens: readonly TokenLogprob[], label: string): number {
  return sum(tokens.filter(({ token }) => token.trim() === label).map(({ logprob }) => Math.exp(logprob)));
}

function choicePrompt({ question, reference }: AnswerPair, a: string, b: string): string {
  return [
    "Which of two answers to the question is better? Judge by what is right and complete, not by length or place.",
    ...facts(question, reference),
    `Answer A:\n${a}`,
    `Answer B:\n${b}`,
    "Reply with one letter and nothing else: A or B.",
  ].join("\n\n");
}

function ratingPrompt({ question, reference }: AnswerPair, answer: string): string {
  return [
    "Rate the answer to the question from 1 (wrong or useless) to 5 (right and complete).",
    ...facts(question, reference),
    `Answer:\n${answer}`,
    "Reply with one digit and nothing else: 1, 2, 3, 4 or 5.",
  ].join("\n\n");
}

function facts(question: string, reference: string | undefined): string[] {
  return [`Question:\n${question}`, ...(reference === undefined ? [] : [`Reference answer:\n${reference}`])];
}
