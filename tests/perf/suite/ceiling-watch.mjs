// A machine's ceilings from time to time: on a shared machine they move by a fifth within minutes.
import { measureCeilings } from "../../../dist/kernels/ceilings.js";

/** Measures at once, and whenever it is asked to. */
export function watchCeilings(isa, numThreads) {
  const readings = [measureCeilings(isa, numThreads)];
  return {
    latest: () => readings.at(-1),
    measure: () => {
      readings.push(measureCeilings(isa, numThreads));
      return readings.at(-1);
    },
    readings: () => readings,
  };
}

export function higherOf(a, b) {
  return Object.fromEntries(Object.keys(a).map((key) => [key, Math.max(a[key], b[key])]));
}
