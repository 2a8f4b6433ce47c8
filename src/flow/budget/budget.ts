import { MillraceError } from "../../base/errors.ts";
import { formatBytes, parseBytes } from "../../base/units.ts";
import type { BudgetFigures } from "../../records/budget-search.ts";

/** One condition of a budget, in the figure's own unit: nats, a ratio to the float model, or bytes. */
export interface BudgetTerm {
  readonly metric: "kl" | "ppl" | "recovery" | "size" | "speed";
  readonly isAtMost: boolean;
  readonly limit: number;
  /** Of recovery. */
  readonly task: string | null;
  /** As given, for people. */
  readonly text: string;
}

/** What a compressed model may cost, and what it must keep. */
export interface Budget {
  readonly terms: readonly BudgetTerm[];
}

interface MetricRule {
  readonly isAtMost: boolean;
  /** Of the limit, with what follows it. */
  readonly pattern: RegExp;
  readonly example: string;
}

const number = String.raw`(\d+(?:\.\d+)?|\.\d+)`;
const rules: Readonly<Record<BudgetTerm["metric"], MetricRule>> = {
  kl: { isAtMost: true, pattern: new RegExp(`^${number}$`), example: "kl<=0.05" },
  ppl: { isAtMost: true, pattern: new RegExp(`^${number}x$`), example: "ppl<=1.01x" },
  recovery: {
    isAtMost: false,
    pattern: new RegExp(String.raw`^${number}% on ([\w-]+)$`),
    example: "recovery>=99% on arc_easy",
  },
  size: { isAtMost: true, pattern: /^(\S.*)$/, example: "size<=95MB" },
  speed: { isAtMost: false, pattern: new RegExp(`^${number}x$`), example: "speed>=1.5x" },
};

/** Reads "kl<=0.05, size<=95MB". Throws `invalid_option`. */
export function parseBudget(text: string): Budget {
  const terms = text.split(",").map((part) => parseTerm(part.trim().replaceAll(/\s+/g, " ")));
  const keyOf = ({ metric, task }: BudgetTerm): string => `${metric} ${task ?? ""}`;
  const twice = terms.find((term, index) => terms.findIndex((other) => keyOf(other) === keyOf(term)) < index);
  if (twice !== undefined)
    throw invalid(`${JSON.stringify(twice.text)} is a second limit of the same figure`);
  return { terms };
}

function parseTerm(text: string): BudgetTerm {
  const [, name, relation, value] = /^([a-z]+) ?(<=|>=) ?(.+)$/.exec(text) ?? [];
  const metric = name as BudgetTerm["metric"];
  const rule = name !== undefined && Object.hasOwn(rules, name) ? rules[metric] : undefined;
  if (rule === undefined || value === undefined) throw invalid(`${JSON.stringify(text)} is no condition`);
  const wanted = rule.isAtMost ? "<=" : ">=";
  if (relation !== wanted)
    throw invalid(`${JSON.stringify(text)} has ${relation}; ${metric} takes ${wanted}`);
  const [, amount, task = null] = rule.pattern.exec(value) ?? [];
  const limit = amount === undefined ? 0 : limitOf(metric, amount);
  if (!(limit > 0)) throw invalid(`${JSON.stringify(text)} has no limit above 0 in the right form`);
  return { metric, isAtMost: rule.isAtMost, limit, task, text };
}

function limitOf(metric: BudgetTerm["metric"], amount: string): number {
  if (metric === "size") {
    if (/\d$/.test(amount)) throw invalid(`the size ${amount} has no unit`);
    return parseBytes(amount, "--budget");
  }
  return metric === "recovery" ? Number(amount) / 100 : Number(amount);
}

function invalid(problem: string): MillraceError {
  const examples = Object.values(rules).map(({ example }) => example);
  return new MillraceError(
    "invalid_option",
    `--budget: ${problem}. It takes one or several of these, joined by commas: ${examples.join(", ")}. Correct it.`,
    { param: "--budget" },
  );
}

/** Whether a budget says how much of the float model must be kept: without, the best of what it allows is looked for. */
export function boundsQuality({ terms }: Budget): boolean {
  return terms.some(({ metric }) => metric === "kl" || metric === "ppl" || metric === "recovery");
}

/** The conditions that figures break. */
export function brokenTerms({ terms }: Budget, figures: BudgetFigures): readonly BudgetTerm[] {
  return terms.filter((term) => {
    const value = figureOf(term, figures);
    return term.isAtMost ? !(value <= term.limit) : !(value >= term.limit);
  });
}

/** The figure that a condition is about; NaN, which breaks it, where it was not measured. */
export function figureOf({ metric, task }: BudgetTerm, figures: BudgetFigures): number {
  switch (metric) {
    case "kl":
      return figures.kl;
    case "ppl":
      return figures.perplexityRatio;
    case "recovery":
      return figures.recovery[task ?? ""] ?? Number.NaN;
    case "size":
      return figures.sizeBytes;
    case "speed":
      return figures.speedup ?? Number.NaN;
  }
}

/** For people: "kl 0.0812". */
export function describeFigure(term: BudgetTerm, figures: BudgetFigures): string {
  const value = figureOf(term, figures);
  switch (term.metric) {
    case "kl":
      return `kl ${value.toPrecision(3)}`;
    case "size":
      return `size ${formatBytes(value)}`;
    case "recovery":
      return `recovery ${(100 * value).toFixed(1)}% on ${term.task}`;
    default:
      return `${term.metric} ${value.toPrecision(4)}x`;
  }
}
