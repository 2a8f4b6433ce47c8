/** What a client saw of one request. Milliseconds on its clock. */
export interface ObservedRequest {
  readonly sentMs: number;
  readonly endMs: number;
  readonly numPromptTokens: number;
  /** Arrival of each token, in order; empty where they are not known one by one. */
  readonly tokenMs: readonly number[];
}

/** One step of an engine, as far as a client can tell: who drew a token in it, and when it was heard of. */
export interface ObservedStep {
  /** Median of the arrivals. */
  readonly endMs: number;
  readonly draws: readonly { readonly request: ObservedRequest; readonly index: number }[];
}

/**
 * The steps that an engine ran, from when the tokens of its requests arrived. A running sequence draws one token in
 * every step, so all that is to be found for a request is the step of its first token: the one for which most of its
 * tokens arrive together with those of others. Single arrivals may be late, or come together with the next.
 */
export function stepsOf(requests: readonly ObservedRequest[]): ObservedStep[] {
  const draws: { request: ObservedRequest; index: number }[][] = [];
  const firstMs: number[] = [];
  const told = requests.filter(({ tokenMs }) => tokenMs.length > 0);
  for (const request of told.toSorted((a, b) => a.tokenMs[0]! - b.tokenMs[0]!)) {
    const start = firstStepOf(request, firstMs);
    for (const [index, arrivalMs] of request.tokenMs.entries()) {
      const step = start + index;
      firstMs[step] ??= arrivalMs;
      (draws[step] ??= []).push({ request, index });
    }
  }
  return draws.map((members) => ({
    endMs: medianOf(members.map(({ request, index }) => request.tokenMs[index]!)),
    draws: members,
  }));
}

/** @param firstMs arrival of each known step's first known token, rising */
function firstStepOf({ sentMs, tokenMs }: ObservedRequest, firstMs: readonly number[]): number {
  const numSteps = firstMs.length;
  const lastMs = firstMs.at(-1) ?? Number.NEGATIVE_INFINITY;
  if (sentMs >= lastMs) return numSteps;
  const starts: number[] = [];
  for (const [index, arrivalMs] of tokenMs.entries())
    if (arrivalMs <= lastMs) starts.push(nearestStep(firstMs, arrivalMs) - index);
  if (starts.length > 0) return Math.max(0, medianOf(starts));
  // In the last step, but a little later than the token known of it, or in the next one.
  const [ownMs, nextMs = Number.POSITIVE_INFINITY] = tokenMs;
  const shortestMs = Math.min(lastMs - (firstMs.at(-2) ?? lastMs), nextMs - ownMs!);
  return ownMs! - lastMs < shortestMs / 2 ? numSteps - 1 : numSteps;
}

function nearestStep(firstMs: readonly number[], arrivalMs: number): number {
  let low = 0;
  let high = firstMs.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (firstMs[middle]! < arrivalMs) low = middle + 1;
    else high = middle;
  }
  const isBelow = low > 0 && arrivalMs - firstMs[low - 1]! < firstMs[low]! - arrivalMs;
  return isBelow ? low - 1 : low;
}

/** The lower one of two in the middle. */
function medianOf(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[(sorted.length - 1) >> 1]!;
}
