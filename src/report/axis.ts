/** A scale for an axis: round values at even distances that hold a range between them. */
export interface Axis {
  readonly low: number;
  readonly high: number;
  /** From `low` to `high`. */
  readonly ticks: readonly { readonly value: number; readonly text: string }[];
}

/** An axis over [low, high] in about `numSteps` steps of 1, 2 or 5 × a power of ten. */
export function chooseAxis(low: number, high: number, numSteps = 4): Axis {
  const end = high > low ? high : low + (Math.abs(low) || 1);
  const rough = (end - low) / numSteps;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999) ?? 10);
  const first = Math.floor(low / step + 1e-9);
  const last = Math.max(first + 1, Math.ceil(end / step - 1e-9));
  const decimals = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const ticks = Array.from({ length: last - first + 1 }, (_, index) => {
    const value = (first + index) * step;
    return { value, text: value.toFixed(decimals) };
  });
  return { low: first * step, high: last * step, ticks };
}

/** Where a value of the axis lies between two positions. */
export function placeOn(axis: Axis, from: number, to: number): (value: number) => number {
  return (value) => from + ((value - axis.low) / (axis.high - axis.low)) * (to - from);
}
