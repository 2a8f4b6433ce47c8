import type { BenchStage, RateStage } from "../../records/bench.ts";
import { startOrigin } from "../../records/origin.ts";
import { errorBound, type SloTerm } from "../../records/slo.ts";
import type { ProbeVerdict, SloResult, SloSearchRecord } from "../../records/slo-search.ts";
import type { BenchOptions } from "../bench-options.ts";
import { BenchSession } from "../bench-session.ts";
import { earlyEndOf } from "../early-end.ts";
import type { Load } from "../loads.ts";
import { refuseLostServer } from "../lost-server.ts";
import {
  checkSearchLimits,
  type SearchLimits,
  type SearchResult,
  searchLoad,
  searchResultOf,
} from "./search.ts";
import { judgeStage, requestsForSlo, sloVerdict } from "./slo.ts";

export interface SloSearchOptions extends BenchOptions, SearchLimits {
  readonly slo: readonly SloTerm[];
  /** Requests of a probe = max(what the targets need, this · concurrency or what comes in minSeconds). */
  readonly requestsPerSeat: number;
  readonly minSeconds: number;
  /** Shape of the gaps of a rate: 1 for Poisson arrivals. */
  readonly burstiness: number;
  /** Receives the record of the probes that ended where a fault or the signal ends it early; not where none did. */
  readonly onEarlyEnd?: ((record: SloSearchRecord) => void) | undefined;
}

/**
 * Searches the highest concurrency or rate at which a server meets every target.
 *
 * Errors: `invalid_option` for ends of the search; those of opening a session; `endpoint_failed` when the server is gone after a probe; the signal's reason.
 */
export async function runSloSearch(options: SloSearchOptions): Promise<SloSearchRecord> {
  const { slo, progress, signal, variable } = options;
  checkSearchLimits(options);
  const finishOrigin = startOrigin(null);
  const session = await BenchSession.open(options);
  const probes: SloSearchRecord["probes"] = [];
  const recordNow = (found: SearchResult): SloSearchRecord => ({
    kind: "slo-search",
    origin: finishOrigin(),
    url: options.endpoint.url,
    model: session.target.model,
    slo: slo.map(({ text }) => text).join(","),
    variable,
    ...found,
    probes,
  });
  try {
    const found = await searchLoad(async (load) => {
      const name = variable === "concurrency" ? `${load} in flight` : `${load.toPrecision(4)} requests/s`;
      const plan = loadAt(options, load);
      progress.start(`probe ${probes.length + 1}, ${name}`, plan.plan.numRequests);
      const { stage } = await session.run(plan, { onRequest: (done) => progress.update(done) });
      signal?.throwIfAborted();
      await refuseLostServer(stage, options);
      const results = judgeStage(stage, slo);
      const verdict = probeVerdict(stage, results);
      probes.push({ load, results, verdict, stage });
      progress.finish(`${name}: ${verdict}`);
      return { verdict };
    }, options);
    return recordNow(found);
  } catch (error) {
    if (probes.length > 0) options.onEarlyEnd?.(recordNow(searchResultOf(probes, earlyEndOf(signal), false)));
    throw error;
  } finally {
    await session.close();
  }
}

/** A client that did not keep up has shown nothing of the server, unless that it fails. */
function probeVerdict({ client }: BenchStage | RateStage, results: readonly SloResult[]): ProbeVerdict {
  const hasFailed = results.some(({ target, verdict }) => target === errorBound && verdict === "missed");
  return client.faults.length > 0 && !hasFailed ? "client limit" : sloVerdict(results);
}

function requestsAt({ slo, requestsPerSeat, minSeconds, variable }: SloSearchOptions, load: number): number {
  const usual = variable === "concurrency" ? requestsPerSeat * load : load * minSeconds;
  return Math.max(requestsForSlo(slo), Math.ceil(usual));
}

function loadAt(options: SloSearchOptions, load: number): Load {
  const numRequests = requestsAt(options, load);
  const { variable, minSeconds, burstiness } = options;
  if (variable === "concurrency")
    return { kind: "closed", plan: { concurrency: load, numRequests, minSeconds } };
  const arrivals = { kind: "rate" as const, requestRate: load, burstiness };
  return { kind: "rate", plan: { arrivals, numRequests, maxConcurrency: null } };
}
