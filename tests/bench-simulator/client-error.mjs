// How far a client's times are from what the simulator's log says it sent.

function quantile(sorted, share) {
  const position = (sorted.length - 1) * share;
  const below = Math.floor(position);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (sorted[above] - sorted[below]) * (position - below);
}

const ascending = (values) => Float64Array.from(values).sort();

function deviation(values) {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length);
}

/**
 * Errors in milliseconds: client − server, request by request and gap by gap. TTFT of the server is from when it had read
 * the request to its first event with tokens, so the way there and back is in the error of every client.
 *
 * @param seen for each request that the client has: `requestId`, `ttftMs` and `gapsMs` between its events
 * @param log of the simulator
 */
export function clientError(seen, log) {
  const entries = new Map(log.map((entry) => [entry.requestId, entry]));
  const ttft = [];
  const gaps = [];
  let numUnmatched = 0;
  for (const { requestId, ttftMs, gapsMs } of seen) {
    const entry = entries.get(requestId);
    if (entry === undefined || gapsMs.length !== entry.sentMs.length - 1) {
      numUnmatched += 1;
      continue;
    }
    ttft.push(ttftMs - (entry.sentMs[0] - entry.receivedMs));
    for (const [i, gapMs] of gapsMs.entries()) gaps.push(gapMs - (entry.sentMs[i + 1] - entry.sentMs[i]));
  }
  const sortedTtft = ascending(ttft);
  const sortedGaps = ascending(gaps.map(Math.abs));
  return {
    numRequests: ttft.length,
    numUnmatched,
    ttftMin: sortedTtft[0],
    ttftP50: quantile(sortedTtft, 0.5),
    ttftP99: quantile(sortedTtft, 0.99),
    itlP50: quantile(sortedGaps, 0.5),
    itlP99: quantile(sortedGaps, 0.99),
    itlSigma: deviation(gaps),
  };
}

/** What our client's raw records say, in the form of `clientError`. */
export function seenByUs(records) {
  return records.map(({ index, turn, sentMs, chunkMs }) => ({
    requestId: `bench-${index}-${turn}`,
    ttftMs: chunkMs[0] - sentMs,
    gapsMs: chunkMs.slice(1).map((ms, i) => ms - chunkMs[i]),
  }));
}

/** What `vllm bench serve --save-result --save-detailed` wrote, in the same form; milliseconds of seconds. */
export function seenByVllm({ ttfts, itls }, prefix) {
  return ttfts.map((seconds, i) => ({
    requestId: `${prefix}${i}`,
    ttftMs: 1000 * seconds,
    gapsMs: itls[i].map((gap) => 1000 * gap),
  }));
}
