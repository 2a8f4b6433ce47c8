/** What a linear of a method that goes by inputs had to do without. */
export const fallbacks = ["untold", "unseen", "silent", "unjudged", "singular", "damped"] as const;

export type Fallback = (typeof fallbacks)[number];

/** What the user is told, behind the number of linears; `have` is "has" for one. */
const texts: Readonly<Record<Fallback, (have: string) => string>> = {
  untold: (have) => `${have} nothing before them that tells of their inputs, and scales by mse`,
  unseen: (have) => `got no calibration token and ${have} scales by mse`,
  silent: (have) => `got only zeros, or no numbers, and ${have} scales by mse`,
  unjudged: (have) => `got no held-out token, or only zeros of them, and ${have} scales by mse`,
  singular: (have) => `${have} an input whose Gram matrix has no factor, so that no errors were passed on`,
  damped: () => "needed more damping than 0.01",
};

/** One note on each fallback that is among those of these linears. */
export function describeFallbacks(
  linears: readonly { readonly module: string; readonly fallback: Fallback | null }[],
): string[] {
  return fallbacks.flatMap((fallback) => {
    const found = linears.filter((linear) => linear.fallback === fallback);
    const [first] = found;
    if (first === undefined) return [];
    if (found.length === 1) return [`1 linear ${texts[fallback]("has")}: ${first.module}.`];
    return [`${found.length} linears ${texts[fallback]("have")}, the first ${first.module}.`];
  });
}
