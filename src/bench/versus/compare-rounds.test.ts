import { expect, test } from "vitest";
import { generatorFor, normal } from "../random.ts";
import { compareRounds, type LegFigures, type Round } from "./compare-rounds.ts";

interface World {
  /** B's ITL over A's. */
  readonly ratio: number;
  /** Standard deviation of a leg by itself, and of the step that the machine's pace makes from one leg to the next. */
  readonly noise: number;
  readonly drift: number;
}

/** Legs of two servers on a machine whose pace wanders; a leg's figures rise and fall together. */
function makeRounds(count: number, { ratio, noise, drift }: World, random: () => number): Round[] {
  let pace = 0;
  const leg = (factor: number): LegFigures => {
    pace += drift * normal(random);
    const tpotMs = 20 * factor * Math.exp(pace + noise * normal(random));
    const ttftMs = 90 * Math.exp(pace + 3 * noise * normal(random));
    const e2eMs = ttftMs + 127 * tpotMs;
    return { tpotMs, ttftMs, e2eMs, outputTokensPerSecond: 128_000 / e2eMs };
  };
  return Array.from({ length: count }, (_, round) => {
    // A B B A, then B A A B.
    if (round % 2 === 0) {
      const [a1, b1, b2, a2] = [leg(1), leg(ratio), leg(ratio), leg(1)];
      return { a: [a1, a2], b: [b1, b2] };
    }
    const [b1, a1, a2, b2] = [leg(ratio), leg(1), leg(1), leg(ratio)];
    return { a: [a1, a2], b: [b1, b2] };
  });
}

const limits = { margin: 0.02, effect: 0.05 };
const pilot = 6;
const numTrials = 200;

/** As the tool goes on: a first few rounds say how many are needed, and the verdict is over all of them. */
function verdictIn(world: World, seed: number): { readonly verdict: string; readonly numRounds: number } {
  const most = makeRounds(400, world, generatorFor(seed, 0));
  const asked = tpotOf(most.slice(0, pilot)).roundsNeeded;
  const { verdict, numRounds } = tpotOf(most.slice(0, Math.max(pilot, asked)));
  return { verdict, numRounds };
}

function tpotOf(rounds: readonly Round[]): ReturnType<typeof compareRounds>[number] {
  return compareRounds(rounds, limits).find(({ metric }) => metric === "tpotMs")!;
}

const worlds = [
  { name: "a steady machine", noise: 0.02, drift: 0 },
  { name: "a machine whose pace wanders", noise: 0.03, drift: 0.02 },
];

// 5 % of 200 is 10; a fair tool stays at or below 16 in 98 of 100 such series.
test.for(worlds)(
  "A against A: at most 16 false verdicts in 200 trials on $name",
  async (world, { annotate }) => {
    const verdicts = Array.from({ length: numTrials }, (_, seed) => verdictIn({ ...world, ratio: 1 }, seed));
    const numFalse = verdicts.filter(({ verdict }) => verdict === "better" || verdict === "worse").length;
    await annotate(`${numFalse} false verdicts in ${numTrials} trials`);
    expect(numFalse).toBeLessThanOrEqual(16);
  },
);

test.for(worlds)(
  "5 % more ITL is found in 85 % of trials with the rounds that were asked for on $name",
  async (world, { annotate }) => {
    const verdicts = Array.from({ length: numTrials }, (_, seed) =>
      verdictIn({ ...world, ratio: 1.05 }, 1000 + seed),
    );
    const numFound = verdicts.filter(({ verdict }) => verdict === "worse").length;
    const most = Math.max(...verdicts.map(({ numRounds }) => numRounds));
    await annotate(`found in ${numFound} of ${numTrials} trials, with ${most} rounds at most`);
    expect(numFound).toBeGreaterThanOrEqual(0.85 * numTrials);
    // Not by asking for more than anybody would run.
    expect(most).toBeLessThan(60);
  },
);

test("equal servers are called equivalent once the interval is within the margin, and not before", () => {
  const world = { ratio: 1, noise: 0.02, drift: 0 };
  const rounds = makeRounds(60, world, generatorFor(5, 0));
  expect(tpotOf(rounds).verdict).toBe("equivalent");
  expect(tpotOf(rounds.slice(0, 3)).verdict).toBe("undetermined");
});

test("the noise floor is what equal servers seem apart in 95 of 100 comparisons", () => {
  const world = { ratio: 1, noise: 0.03, drift: 0 };
  const outside = Array.from({ length: numTrials }, (_, seed) => {
    const { ratio, noiseFloor } = tpotOf(makeRounds(8, world, generatorFor(seed, 7)));
    return Math.abs(Math.log(ratio)) > Math.log1p(noiseFloor);
  }).filter(Boolean).length;
  expect(outside).toBeLessThanOrEqual(16);
  expect(outside).toBeGreaterThanOrEqual(3);
});

test("more throughput is better, more time is worse; what a leg lacks is left out", () => {
  const rounds = makeRounds(8, { ratio: 1.3, noise: 0.01, drift: 0 }, generatorFor(1, 1));
  const verdicts = Object.fromEntries(compareRounds(rounds, limits).map((row) => [row.metric, row.verdict]));
  expect(verdicts).toMatchObject({ tpotMs: "worse", outputTokensPerSecond: "worse" });
  const without = rounds.map(({ a, b }) => ({ a: [a[0], { ...a[1], ttftMs: null }] as const, b }));
  expect(compareRounds(without, limits).map(({ metric }) => metric)).not.toContain("ttftMs");
});
