import path from "node:path";
import { writeFileAtomically } from "../base/write-file.ts";
import { recordsFile, runSweep } from "../bench/sweep.ts";
import type { EndpointLauncher } from "../protocol/endpoint-launcher.ts";
import type { BenchStage, RateStage, RequestRecord } from "../records/bench.ts";
import { type ServingRecord, servingRecordSchema } from "../records/comparison.ts";
import { describeFiles, fingerprintOf } from "./fingerprint.ts";
import type { FlowPlan, FlowTools, Side } from "./flow-plan.ts";
import { readJsonFile } from "./json-files.ts";
import type { StepReport } from "./step-progress.ts";

/** Two requests warm code and caches; their figures are thrown away. */
const numWarmup = 2;
const loadSeed = 1;
/** Enough for the tail figures of one stage to be more than single requests. */
const minRequests = 8;

/** What decides the figures, beside the model. */
export type LoadPlan = Pick<
  FlowPlan,
  "kernels" | "concurrencies" | "requestsPerSeat" | "minSeconds" | "inputTokens" | "outputTokens"
>;
type LoadTools = Pick<FlowTools, "createLauncher" | "signal">;

/** Serves a model, loads it, stops it; or returns the record of an earlier run with the same inputs. */
export async function serveAndLoad(
  plan: LoadPlan,
  tools: LoadTools,
  { side, report }: { readonly side: Side; readonly report: StepReport },
): Promise<ServingRecord> {
  const fingerprint = fingerprintOf({
    step: "serving",
    kernels: plan.kernels,
    load: [numWarmup, loadSeed, minRequests],
    files: describeFiles(side.path),
    dtype: side.dtype,
    concurrencies: plan.concurrencies,
    requestsPerSeat: plan.requestsPerSeat,
    minSeconds: plan.minSeconds,
    inputTokens: plan.inputTokens,
    outputTokens: plan.outputTokens,
  });
  const file = path.join(side.folder, "serving.json");
  const earlier = servingRecordSchema.safeParse(readJsonFile(file)).data;
  if (earlier?.fingerprint === fingerprint) {
    report.keep(file);
    return earlier;
  }
  const launcher = tools.createLauncher(side);
  try {
    const measured = await measure(plan, tools, { side, report, launcher });
    const record: ServingRecord = { kind: "serving", fingerprint, ...measured };
    writeFileAtomically(file, `${JSON.stringify(record, null, 2)}\n`);
    return record;
  } catch (error) {
    // A server that died says more than the requests that failed by it.
    throw launcher.failure() ?? error;
  } finally {
    await launcher.stop();
  }
}

interface Subject {
  readonly side: Side;
  readonly report: StepReport;
  readonly launcher: EndpointLauncher;
}

async function measure(
  plan: LoadPlan,
  tools: LoadTools,
  { side, report, launcher }: Subject,
): Promise<Omit<ServingRecord, "kind" | "fingerprint">> {
  const { url } = await launcher.start();
  const readyMs = await launcher.ready();
  const readyMemoryBytes = launcher.processMemory()?.nowBytes ?? null;
  const bench = await runSweep({
    endpoint: { url },
    model: null,
    concurrencies: plan.concurrencies,
    requestsPerSeat: plan.requestsPerSeat,
    minRequests,
    minSeconds: plan.minSeconds,
    inputTokens: plan.inputTokens,
    outputTokens: plan.outputTokens,
    numWarmup,
    seed: loadSeed,
    vocabSize: side.vocabSize,
    kernels: plan.kernels,
    progress: report.progress,
    signal: tools.signal,
    onStage: (stage, records) => writeRequests(side.folder, stage, records),
  });
  tools.signal.throwIfAborted();
  return {
    server: await launcher.version(),
    readyMs,
    readyMemoryBytes,
    peakMemoryBytes: launcher.processMemory()?.peakBytes ?? null,
    memoryPlan: await launcher.memoryPlan(),
    bench,
  };
}

function writeRequests(
  folder: string,
  stage: BenchStage | RateStage,
  records: readonly RequestRecord[],
): void {
  const lines = records.map((record) => `${JSON.stringify(record)}\n`).join("");
  writeFileAtomically(path.join(folder, recordsFile(stage)), lines);
}
