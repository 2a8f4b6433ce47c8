import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { isMillraceError } from "../base/errors.ts";
import { writeFileAtomically } from "../base/write-file.ts";
import {
  type ConsoleDialect,
  consoleDialects,
  consoleText,
  type KeptStage,
  writeDialects,
} from "../bench/dialects/load-exports.ts";
import { minRequests, ratesBetween, usualWarmup } from "../bench/loads.ts";
import type { RateLoad } from "../bench/open-loop.ts";
import { runSweep } from "../bench/sweep.ts";
import { writeRequests } from "../bench/write-requests.ts";
import { type EndpointLauncher, LaunchError } from "../protocol/endpoint-launcher.ts";
import type { BenchRecord } from "../records/bench.ts";
import { type ServingRecord, servingRecordSchema } from "../records/comparison.ts";
import { areRequestsWhole } from "./compare/read-requests.ts";
import { describeFiles, fingerprintOf } from "./fingerprint.ts";
import type { FlowPlan, FlowTools, LoadPlan, ServedSide } from "./flow-plan.ts";
import { readJsonFile } from "./json-files.ts";
import type { StepReport } from "./step-progress.ts";

const loadSeed = 1;
/** Most that the news of a process's end comes after the refusal of its connections. */
const deathNoticeMs = 2000;
/** Codes of what a server that died may have caused. */
const serverFaults: ReadonlySet<string> = new Set(["endpoint_failed", "endpoint_unreachable"]);

/** Whose turn it is. */
interface ServeStep {
  readonly side: ServedSide;
  readonly report: StepReport;
  /** From 1; every round is measured anew. */
  readonly round: number;
}

/** Serves a model, loads it, stops it; or returns the record of an earlier run with the same inputs. */
export async function serveAndLoad(
  plan: Pick<FlowPlan, "kernels" | "load">,
  tools: Pick<FlowTools, "createLauncher" | "signal" | "onStage">,
  { side, report, round }: ServeStep,
): Promise<ServingRecord> {
  const launcher = tools.createLauncher(side);
  const programId = await launcher.programId();
  const fingerprint = fingerprintOf({
    step: "serving",
    kernels: plan.kernels,
    fixed: [usualWarmup, loadSeed, minRequests],
    files: describeFiles(side.path),
    dtype: side.dtype,
    engine: [side.engine, programId],
    round,
    load: plan.load,
  });
  const folder = path.join(side.folder, `serving-${fingerprint}`);
  const file = path.join(folder, "serving.json");
  const earlier = servingRecordSchema.safeParse(readJsonFile(file)).data;
  if (earlier?.fingerprint === fingerprint && programId !== null && areRequestsWhole(folder, earlier.bench)) {
    report.keep(file);
    for (const stage of [...earlier.bench.stages, ...earlier.bench.rates]) tools.onStage?.(side, stage);
    return { ...earlier, folder };
  }
  try {
    const measured = await measure(plan, tools, {
      side,
      report,
      launcher,
      folder,
      round,
      isStranger: programId === null,
    });
    // What it takes is asked at the end: of a server that is gone by then it would only be unknown.
    const end = await Promise.race([launcher.ended, Promise.resolve(null)]);
    if (end !== null) throw end;
    const record: ServingRecord = { kind: "serving", fingerprint, folder, round, ...measured };
    writeFileAtomically(file, `${JSON.stringify(record, null, 2)}\n`);
    return record;
  } catch (error) {
    tools.signal.throwIfAborted();
    throw (await deathBehind(error, launcher)) ?? error;
  } finally {
    await launcher.stop();
  }
}

/**
 * The end of a launched server, which says more than the requests that failed by it; null where it runs, and for faults
 * that are no server's. That its connections are refused may be known a moment before its end is.
 */
async function deathBehind(error: unknown, launcher: EndpointLauncher): Promise<Error | null> {
  if (!isMillraceError(error) || !serverFaults.has(error.code) || error instanceof LaunchError) return null;
  const { ended } = launcher;
  if (ended === null) return null;
  return Promise.race([ended, pause(deathNoticeMs, null, { ref: false })]);
}

interface Measured {
  readonly side: ServedSide;
  readonly report: StepReport;
  readonly launcher: EndpointLauncher;
  readonly folder: string;
  readonly round: number;
  /** Whether nobody knows what runs, and since when. */
  readonly isStranger: boolean;
}

async function measure(
  { kernels, load }: Pick<FlowPlan, "kernels" | "load">,
  { signal, onStage }: Pick<FlowTools, "signal" | "onStage">,
  { side, report, launcher, folder, round, isStranger }: Measured,
): Promise<Omit<ServingRecord, "kind" | "fingerprint" | "folder" | "round">> {
  report.progress.start("start the server", 0);
  const { url, apiKey } = await launcher.start();
  const readyMs = await launcher.ready();
  const readyMemoryBytes = launcher.processMemory()?.nowBytes ?? null;
  const kept: KeptStage[] = [];
  const run = (concurrencies: readonly number[], rates: readonly RateLoad[]): Promise<BenchRecord> =>
    runSweep({
      endpoint: { url, apiKey },
      model: null,
      concurrencies,
      requestsPerSeat: load.requestsPerSeat,
      minRequests,
      minSeconds: load.minSeconds,
      rates,
      inputTokens: load.inputTokens,
      outputTokens: load.outputTokens,
      numWarmup: usualWarmup,
      // Prompts that a server has seen would be in its prefix cache; an address keeps its server from round to round,
      // and from flow to flow.
      seed: loadSeed + 2 * (round - 1) + (concurrencies.length > 0 ? 0 : 1),
      salt: isStranger ? Date.now() % 2 ** 31 : null,
      timeoutMs: load.requestTimeoutMs,
      vocabSize: launcher.takesTokenIds ? side.vocabSize : null,
      kernels: launcher.hasOurKernels ? kernels : null,
      progress: report.progress,
      signal,
      onStage: (stage, records) => {
        writeRequests(folder, stage, records);
        kept.push({ stage, requests: records });
        onStage?.(side, stage);
      },
    });
  const first = await run(load.concurrencies, ratesOf(load));
  const between = ratesOfSweep(first, load.sweep);
  const swept =
    between.length === 0
      ? null
      : await run(
          [],
          between.map((rate) => rateLoad(rate, load)),
        );
  const bench = swept === null ? first : { ...first, rates: [...first.rates, ...swept.rates] };
  signal.throwIfAborted();
  writeDialects(bench, kept, folder);
  for (const dialect of consoleDialects)
    writeFileAtomically(path.join(folder, consoleFile(dialect)), `${consoleText(dialect, bench, kept)}\n`);
  return {
    server: await launcher.version(),
    flags: launcher.flags,
    readyMs,
    readyMemoryBytes,
    peakMemoryBytes: launcher.processMemory()?.peakBytes ?? null,
    memoryPlan: await launcher.memoryPlan(),
    kvCacheTokens: await launcher.kvCacheTokens(),
    bench,
  };
}

/** Where a serving's load test stands as another tool would print it. */
export function consoleFile(dialect: ConsoleDialect): string {
  return `console-${dialect}.txt`;
}

function ratesOf(load: LoadPlan): RateLoad[] {
  const atOnce = load.atOnce.map((numRequests) => ({
    arrivals: { kind: "rate" as const, requestRate: Number.POSITIVE_INFINITY, burstiness: 1 },
    numRequests,
    maxConcurrency: null,
  }));
  return [...atOnce, ...load.rates.map((rate) => rateLoad(rate, load))];
}

/** Requests at even gaps for as long as a level lasts. */
function rateLoad(requestRate: number, { minSeconds }: LoadPlan): RateLoad {
  return {
    arrivals: { kind: "rate", requestRate, burstiness: Number.POSITIVE_INFINITY },
    numRequests: Math.max(minRequests, Math.ceil(requestRate * minSeconds)),
    maxConcurrency: null,
  };
}

/** Rates evenly from what one user reaches (not among them) to what all at once reach, as GuideLLM's sweep has them. */
function ratesOfSweep({ stages, rates }: BenchRecord, count: number): number[] {
  const slowest = stages.find(({ concurrency }) => concurrency === 1)?.requestsPerSecond ?? 0;
  const fastest = Math.max(0, ...rates.map(({ requestsPerSecond }) => requestsPerSecond));
  return ratesBetween(slowest, fastest, count);
}
