import { parentPort, workerData } from "node:worker_threads";
import { toWire } from "../base/errors.ts";
import { invariant } from "../base/invariant.ts";
import { type AdapterChange, applyChange, type HostedAdapters } from "./adapters/adapter-host.ts";
import type { EmbeddingEngine } from "./embedding/embedding-engine.ts";
import { isEmbeddingModel, loadEmbeddingEngine } from "./embedding/load-embedding-engine.ts";
import type { EngineLoop } from "./engine-loop.ts";
import { EngineCounters } from "./engine-stats.ts";
import { loadEngine } from "./load-engine.ts";
import {
  toWireEmbeddings,
  toWireStep,
  type WorkerCommand,
  type WorkerReport,
  type WorkerStart,
} from "./worker-messages.ts";

// The engine's own thread: loads the model, then obeys commands and posts one message per step.

invariant(parentPort !== null, "engine-worker runs in a worker thread only");
const port = parentPort;
const { options, counters } = workerData as WorkerStart;

try {
  const watch = { counters: new EngineCounters(counters), onPlan: reportPlan };
  if (isEmbeddingModel(options.modelPath)) serveEmbeddings(loadEmbeddingEngine(options, watch));
  else serve(await loadEngine(options, watch));
} catch (error) {
  report({ kind: "refused", error: toWire(error) });
  port.close();
}

function serve(engine: EngineLoop): void {
  engine.connect((message) => {
    const { report: step, transfer } = toWireStep(message);
    port.postMessage(step, transfer);
  });
  port.on("message", (command: WorkerCommand) => {
    if (command.kind === "generate") engine.generate(command.handle, command.request);
    else if (command.kind === "score") engine.score(command.handle, command.request);
    else if (command.kind === "abort") engine.abort(command.handle);
    else if (command.kind === "reset") engine.resetPrefixCache();
    else if (command.kind === "adapter") void changeAdapters(engine, command.change);
    else if (command.kind === "recent") {
      report({
        kind: "recent",
        items: command.what === "steps" ? engine.recentSteps() : engine.recentRequests(),
      });
    }
    // With its port closed the thread has nothing left to wait for, and ends.
    else void engine.close().finally(() => port.close());
  });
  report({ kind: "ready", info: engine.info, adapters: hostedOf(engine) });
}

/** What crosses to the client's thread: a host is functions. */
function hostedOf({ adapters }: EngineLoop): HostedAdapters | null {
  if (adapters === null) return null;
  const { initial, maxNumAdapters } = adapters;
  return { initial, maxNumAdapters };
}

async function changeAdapters({ adapters }: EngineLoop, change: AdapterChange): Promise<void> {
  invariant(adapters !== null, "adapters are changed where there are none");
  report({ kind: "adapter", answer: await applyChange(adapters, change) });
}

function serveEmbeddings(engine: EmbeddingEngine): void {
  engine.connect((message) => {
    const { report: step, transfer } = toWireEmbeddings(message);
    port.postMessage(step, transfer);
  });
  port.on("message", (command: WorkerCommand) => {
    if (command.kind === "embed") engine.embed(command.handle, command.request);
    else if (command.kind === "abort") engine.abort(command.handle);
    else if (command.kind === "close") void engine.close().finally(() => port.close());
  });
  report({ kind: "ready", info: engine.info, adapters: null });
}

function reportPlan(lines: readonly string[]): void {
  report({ kind: "planned", lines });
}

function report(message: WorkerReport): void {
  port.postMessage(message);
}
