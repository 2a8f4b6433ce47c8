/** Bounds of a number, whole or infinite; `isOpen…`: the bound itself is outside. */
export interface NumberBounds {
  readonly lowest: number;
  readonly highest: number;
  readonly isOpenBelow: boolean;
  readonly isOpenAbove: boolean;
}

/** What follows the digits of a whole number: of the lowest, of the highest, and of those between; null for not allowed. */
interface Tails {
  readonly low: string | null;
  readonly high: string | null;
  readonly between: string;
}

const integerTails: Tails = { low: '""', high: '""', between: '""' };

/** Rules that ranges refer to: `fraction` may be empty, `someFraction` is above 0. */
export const rangeRules: string = [
  'fraction ::= "" | "." [0-9]+',
  'someFraction ::= "." "0"* [1-9] [0-9]*',
].join("\n");

// All choices here are told apart by their first character: xgrammar 0.1.27 joins the ends of alternatives that share a
// beginning, and then lets more through (`number-range.test.ts` asks the library itself).

/** EBNF of the whole numbers from `lowest` to `highest`, over `rangeRules`; null where there is none. */
export function integerRange(lowest: number, highest: number): string | null {
  return signed(
    highest < Math.max(0, lowest) ? null : decimals(Math.max(0, lowest), highest, integerTails),
    Math.min(-1, highest) < lowest ? null : decimals(Math.max(1, -highest), -lowest, integerTails),
  );
}

/** EBNF of the numbers between whole bounds, without exponents, over `rangeRules`; null where there is none. */
export function numberRange({ lowest, highest, isOpenBelow, isOpenAbove }: NumberBounds): string | null {
  return signed(
    magnitudes({ lowest, highest, isOpenBelow, isOpenAbove }),
    magnitudes({ lowest: -highest, highest: -lowest, isOpenBelow: isOpenAbove, isOpenAbove: isOpenBelow }),
  );
}

function signed(positive: string | null, negative: string | null): string | null {
  const parts = [negative === null ? null : `"-" ${negative}`, positive].filter((part) => part !== null);
  return parts.length === 0 ? null : choice(parts);
}

/** The numbers from 0 upwards that lie between the bounds. */
function magnitudes({ lowest, highest, isOpenBelow, isOpenAbove }: NumberBounds): string | null {
  const low = Math.max(0, lowest);
  const high = highest;
  if (low > high) return null;
  const isOpenLow = lowest >= 0 && isOpenBelow;
  // What follows the point stays below the next whole number.
  const highTail = highest === Infinity ? "fraction" : isOpenAbove ? null : '""';
  const lowTail = isOpenLow ? "someFraction" : "fraction";
  const isOne = low === high;
  const one = isOpenLow && highTail === '""' ? null : highTail;
  return decimals(low, high, {
    low: isOne ? one : lowTail,
    high: isOne ? one : highTail,
    between: "fraction",
  });
}

/** The decimals of low … high, 0 ≤ low ≤ high, without leading zeros, each with its tail. */
function decimals(low: number, high: number, tails: Tails): string | null {
  const digits = new DecimalWriter(low, high, tails);
  const zero = low === 0 ? tailOf(0, low, high, tails) : null;
  const others = digits.grouped(1, (digit) => digits.after(digit));
  const parts = [...(zero === null ? [] : [join('"0"', zero)]), ...others];
  return parts.length === 0 ? null : choice(parts);
}

function tailOf(n: number, low: number, high: number, tails: Tails): string | null {
  if (n < low || n > high) return null;
  return n === low ? tails.low : n === high ? tails.high : tails.between;
}

class DecimalWriter {
  readonly #low: number;
  readonly #high: number;
  readonly #tails: Tails;

  constructor(low: number, high: number, tails: Tails) {
    this.#low = low;
    this.#high = high;
    this.#tails = tails;
  }

  /** What may follow the digits `prefix`, which begin with no 0; null where nothing leads to a number of the range. */
  after(prefix: string): string | null {
    const [low, high] = [String(this.#low), String(this.#high)];
    if (!low.startsWith(prefix) && !high.startsWith(prefix)) return this.#afterOther(prefix, low, high);
    const end = tailOf(Number(prefix), this.#low, this.#high, this.#tails);
    const parts = this.grouped(0, (digit) =>
      prefix.length < high.length ? this.after(prefix + digit) : null,
    );
    if (end !== null) parts.unshift(end);
    return parts.length === 0 ? null : choice(parts);
  }

  /** Digits in runs of equal consequences. */
  grouped(first: number, consequence: (digit: string) => string | null): string[] {
    const parts: string[] = [];
    for (let from = first; from <= 9; ) {
      const next = consequence(String(from));
      let to = from;
      while (to < 9 && consequence(String(to + 1)) === next) to += 1;
      if (next !== null) parts.push(join(from === to ? `"${from}"` : `[${from}-${to}]`, next));
      from = to + 1;
    }
    return parts;
  }

  /** After digits with which neither bound begins, only the number of digits counts. */
  #afterOther(prefix: string, low: string, high: string): string | null {
    const isAbove = prefix > low.slice(0, prefix.length);
    const isBelow = prefix < high.slice(0, prefix.length);
    const fewest = Math.max(prefix.length, isAbove ? low.length : low.length + 1) - prefix.length;
    const longest = this.#high === Infinity ? Infinity : isBelow ? high.length : high.length - 1;
    const most = longest - prefix.length;
    if (most < fewest) return null;
    return join(digitsBetween(fewest, most), this.#tails.between);
  }
}

function digitsBetween(fewest: number, most: number): string {
  if (most === 0) return "";
  if (most === Infinity) return `${fewest === 0 ? "" : `[0-9]{${fewest}} `}[0-9]*`;
  return fewest === most ? `[0-9]{${most}}` : `[0-9]{${fewest},${most}}`;
}

/** One after the other, without what is empty. */
function join(...parts: readonly string[]): string {
  const all = parts.filter((part) => part !== "" && part !== '""');
  return all.length === 0 ? '""' : all.join(" ");
}

const choice = (parts: readonly string[]): string =>
  parts.length === 1 ? parts[0]! : `(${parts.join(" | ")})`;
