import { parentPort, workerData } from "node:worker_threads";
import { invariant } from "../base/invariant.ts";
import { ConnectionPool } from "../client/connection-pool.ts";
import { type LoadShare, prepareShare, type StartShare } from "./load-share.ts";
import type { ThreadCommand, ThreadReport, ThreadTarget } from "./load-threads.ts";
import { measureRequest, type RequestPlan } from "./measure-request.ts";
import { createWorkload } from "./workload/workload.ts";

// A thread that sends its share of a load, with connections and an event loop of its own.

invariant(parentPort !== null, "load-thread runs in a worker thread only");
const port = parentPort;
const { timeoutMs, workload, ...rest } = workerData as ThreadTarget;
const target = { ...rest, pool: new ConnectionPool(timeoutMs ?? 0, rest.endpoints[0]!.tls ?? {}) };
let prompts = createWorkload(workload);
let stop = new AbortController();
let start: StartShare | null = null;

port.on("message", (command: ThreadCommand) => {
  if (command === "stop") stop.abort();
  else if (command === "close") {
    stop.abort();
    target.pool.destroy();
    port.close();
  } else if ("originEpochMs" in command) void send(command.originEpochMs);
  else if ("warmUp" in command) void warmUp(command.warmUp);
  else if ("workload" in command) prompts = createWorkload(command.workload);
  else void prepare(command);
});

async function prepare(share: LoadShare): Promise<void> {
  stop = new AbortController();
  const onRequest = (done: number): void => report({ kind: "progress", done });
  start = await prepareShare(share, { target, workload: prompts, signal: stop.signal, onRequest });
  report({ kind: "ready" });
}

async function send(originEpochMs: number): Promise<void> {
  const outcome = await start!(originEpochMs);
  report({ kind: "outcome", outcome });
}

async function warmUp(plan: RequestPlan): Promise<void> {
  report({
    kind: "answer",
    record: await measureRequest(target, plan, { originMs: 0, signal: stop.signal }),
  });
}

function report(message: ThreadReport): void {
  port.postMessage(message);
}
