import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { differenceInterval, type PairedCounts, ratioInterval } from "./paired-proportions.ts";

/** Fagerland, Lydersen and Laake's example tables (2017, chapter 8): Cavo et al. 2012 and Bentur et al. 2009. */
const cavo = countsOf(59, 16, 6, 80);
const bentur = countsOf(1, 7, 1, 12);

function countsOf(bothRight: number, lost: number, gained: number, bothWrong: number): PairedCounts {
  return { bothRight, lost, gained, bothWrong, weight: 1 };
}

const counts = fc
  .tuple(...Array.from({ length: 4 }, () => fc.integer({ min: 0, max: 60 })))
  .filter(([bothRight, lost, gained]) => bothRight! + lost! > 0 && bothRight! + gained! > 0)
  .map(([bothRight, lost, gained, bothWrong]) => countsOf(bothRight!, lost!, gained!, bothWrong!));

describe("differenceInterval", () => {
  // As the R package contingencytables gives them.
  it.each([
    [cavo, -0.124, -0.0054],
    [bentur, -0.5172, -0.026],
  ])("is Tango's", (table, low, high) => {
    expect(differenceInterval([table]).low).toBeCloseTo(low, 4);
    expect(differenceInterval([table]).high).toBeCloseTo(high, 4);
  });

  it("without a flip is about the exact bound on what was never seen", () => {
    for (const n of [20, 100, 5000]) {
      const { low, high } = differenceInterval([countsOf(n, 0, 0, 0)]);
      // Clopper and Pearson 1934: none of n, 97.5 %.
      const exact = 1 - 0.025 ** (1 / n);
      expect(low).toBeCloseTo(-high, 12);
      expect(high / exact).toBeGreaterThan(0.94);
      expect(high / exact).toBeLessThan(1.06);
    }
  });
});

describe("ratioInterval", () => {
  it.each([
    [cavo, 0.7476, 0.9876],
    [bentur, 0.0653, 0.9069],
  ])("is that of Tang, Tang and Chan", (table, low, high) => {
    expect(ratioInterval([table])!.low).toBeCloseTo(low, 4);
    expect(ratioInterval([table])!.high).toBeCloseTo(high, 4);
  });

  it("turned around, gives the turned-around interval, and holds what was seen", () => {
    fc.assert(
      fc.property(counts, (table) => {
        const { low, high } = ratioInterval([table])!;
        const back = ratioInterval([{ ...table, lost: table.gained, gained: table.lost }])!;
        expect(back.low * high).toBeCloseTo(1, 6);
        const seen = (table.bothRight + table.gained) / (table.bothRight + table.lost);
        expect(low).toBeLessThan(seen);
        expect(high).toBeGreaterThan(seen);
      }),
    );
  });

  it("says nothing where nothing was right before", () => {
    expect(ratioInterval([countsOf(0, 0, 3, 7)])).toBeNull();
  });

  // Every outcome of n documents that the base gets right 4 in 5 times, with its probability.
  it.each([
    [500, 0],
    [1000, 0],
    [1000, 0.005],
    [3000, 0.01],
  ])(
    "of %i documents with a true recovery of 99 percent, seldom lies above it; share gained: %s",
    (n, gainedShare) => {
      const lostShare = 0.008 + gainedShare;
      let claims = 0;
      for (let lost = 0; lost < 2 * n * lostShare + 20; lost += 1) {
        for (let gained = 0; gained <= (gainedShare === 0 ? 0 : 2 * n * gainedShare + 20); gained += 1) {
          const probability = trinomial(n, [lost, gained], [lostShare, gainedShare]);
          if (probability < 1e-9) continue;
          const table = countsOf(0.8 * n - lost, lost, gained, 0.2 * n - gained);
          if (ratioInterval([table])!.low >= 0.99) claims += probability;
        }
      }
      expect(claims).toBeLessThan(0.035);
    },
  );
});

describe("of several tasks", () => {
  it("equals that of one when they are parts of it", () => {
    const two = [
      { ...cavo, weight: 161 },
      { ...cavo, weight: 161 },
    ];
    const whole = [countsOf(118, 32, 12, 160)];
    expect(differenceInterval(two).low).toBeCloseTo(differenceInterval(whole).low, 9);
    expect(ratioInterval(two)!.high).toBeCloseTo(ratioInterval(whole)!.high, 9);
  });

  it("stays wide for a small task that counts as much as a large one", () => {
    const { high } = differenceInterval([countsOf(5, 0, 0, 0), countsOf(1000, 0, 0, 0)]);
    expect(high).toBeGreaterThan(0.15);
  });
});

function trinomial(n: number, [a, b]: readonly [number, number], [p, q]: readonly [number, number]): number {
  const logTerm = (count: number, share: number): number => (count === 0 ? 0 : count * Math.log(share));
  const rest = n - a - b;
  return Math.exp(
    logFactorial(n) -
      logFactorial(a) -
      logFactorial(b) -
      logFactorial(rest) +
      logTerm(a, p) +
      logTerm(b, q) +
      logTerm(rest, 1 - p - q),
  );
}

function logFactorial(n: number): number {
  let total = 0;
  for (let i = 2; i <= n; i += 1) total += Math.log(i);
  return total;
}
