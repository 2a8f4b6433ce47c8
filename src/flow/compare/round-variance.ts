import type { LogError } from "../../bench/ratio-interval.ts";
import type { SpeedRow } from "../../records/comparison.ts";
import type { LoadLevel } from "../../records/load-level.ts";

/** Squared deviations of rounds from the means of their levels, on logarithms, by what they come from. */
interface Deviations {
  /** All levels of a round together: the start of a server, the machine's pace at that time. */
  readonly shared: number;
  /** What each level adds by itself. */
  readonly own: number;
  readonly sharedFreedom: number;
  readonly ownFreedom: number;
}

/**
 * Variance of the logarithm of a figure from one round to the next, pooled over the levels of one kind and over all
 * variants; each is taken to vary by the same share. Two rounds of one level say next to nothing of it, those of all do.
 * The levels of a round share one start of a server, so they are no independent samples of it: the degrees of freedom are
 * Satterthwaite's for the sum of the two components of variance (Satterthwaite 1946, Biometrics Bulletin 2, 110–114; the
 * components as in Searle, Casella and McCulloch, Variance Components, chapter 4). Null where
 * one variant alone has two rounds: one difference tells no variance.
 */
export function roundVariance(
  variants: readonly (readonly LoadLevel[])[],
  kind: LoadLevel["kind"],
  name: SpeedRow["metric"],
): LogError | null {
  const parts = variants.flatMap((levels) => deviationsOf(logsByLevel(levels, kind, name)) ?? []);
  const sum = (of: (part: Deviations) => number): number =>
    parts.reduce((total, part) => total + of(part), 0);
  const [sharedFreedom, ownFreedom] = [sum((part) => part.sharedFreedom), sum((part) => part.ownFreedom)];
  if (sharedFreedom < 2) return null;
  const count = sharedFreedom + ownFreedom;
  const [shared, own] = [sum((part) => part.shared) / count, sum((part) => part.own) / count];
  const squared = shared + own;
  if (squared === 0) return { squared, freedom: count };
  const spread = shared ** 2 / sharedFreedom + (ownFreedom === 0 ? 0 : own ** 2 / ownFreedom);
  return { squared, freedom: squared ** 2 / spread };
}

/** Logarithms of the rounds of each level; levels that lost a round to a failure are left out. */
function logsByLevel(
  levels: readonly LoadLevel[],
  kind: LoadLevel["kind"],
  name: SpeedRow["metric"],
): number[][] {
  const figures = levels
    .filter((level) => level.kind === kind)
    .map(({ rounds }) => rounds.map((round) => round[name] ?? 0))
    .filter((rounds) => rounds.every((figure) => figure > 0));
  const numRounds = Math.max(0, ...figures.map(({ length }) => length));
  return figures.filter(({ length }) => length === numRounds).map((rounds) => rounds.map(Math.log));
}

function deviationsOf(levels: readonly (readonly number[])[]): Deviations | null {
  const [numLevels, numRounds] = [levels.length, levels[0]?.length ?? 0];
  if (numRounds < 2) return null;
  const deviations = levels.map((logs) => logs.map((log) => log - meanOf(logs)));
  const whole = deviations.flat().reduce((sum, deviation) => sum + deviation ** 2, 0);
  const ofRounds = deviations[0]!.map((_, round) => meanOf(deviations.map((each) => each[round]!)));
  const shared = numLevels * ofRounds.reduce((sum, deviation) => sum + deviation ** 2, 0);
  return {
    shared,
    own: Math.max(0, whole - shared),
    sharedFreedom: numRounds - 1,
    ownFreedom: (numLevels - 1) * (numRounds - 1),
  };
}

function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
