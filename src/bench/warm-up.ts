import { MillraceError } from "../base/errors.ts";
import { sentence } from "../base/sentence.ts";
import type { RequestRecord } from "../records/bench.ts";
import type { BenchOptions } from "./bench-options.ts";
import type { LoadThreads, ThreadTarget } from "./load-threads.ts";
import type { RequestPlan } from "./measure-request.ts";
import { pause } from "./pause.ts";
import { retryWaitMs } from "./retry-wait.ts";
import { calibrateWords } from "./workload/synthetic-workload.ts";
import { createWorkload, type Workload } from "./workload/workload.ts";

export type SessionTarget = Omit<ThreadTarget, "workload">;

interface WarmUpOptions extends BenchOptions {
  readonly target: SessionTarget;
  /** Monotonic time until which a server that has no room is asked again. */
  readonly readyByMs: number;
}

/** Requests of a warm-up: every server answers one at least, so that one that does not is known before a load. */
export function warmupsOf({ numWarmup, moreEndpoints = [] }: BenchOptions): number {
  return numWarmup === 0 ? 0 : Math.max(numWarmup, 1 + moreEndpoints.length);
}

/** Sends the warm-up; the workload that it gives back has text prompts of the asked length, unless another's were given. */
export async function warmUp(
  client: LoadThreads,
  first: Workload,
  options: WarmUpOptions,
): Promise<Workload> {
  const { progress, numWarmup, prompts } = options;
  let workload = first;
  if (numWarmup > 0) progress.start("warm-up", numWarmup);
  for (let index = 0; index < numWarmup; index += 1) {
    const turn = workload.conversation(index)[0]!;
    const record = await askUntilRoom(client, { index, turn: 0, ...turn, dueMs: null }, options);
    if (record.error !== null) throw warmUpFailed(options, record, workload);
    if (typeof prompts !== "object") workload = calibrated(workload, turn.prompt, record.promptTokens);
    progress.update(index + 1);
  }
  if (numWarmup > 0) progress.finish("warm-up done");
  return workload;
}

/** Sends one request, again and again while the server says that it has no room and there is time to wait for some. */
async function askUntilRoom(
  client: LoadThreads,
  plan: RequestPlan,
  { progress, readyByMs, signal }: WarmUpOptions,
): Promise<RequestRecord> {
  for (;;) {
    const record = await client.warmUp(plan);
    signal?.throwIfAborted();
    const waitMs = retryWaitMs(record.retryAfterSeconds);
    if (record.errorKind !== "overloaded" || performance.now() + waitMs > readyByMs) return record;
    progress.update(plan.index, "waiting for room");
    await pause(waitMs, signal);
  }
}

/** The workload whose words give the tokens that the server counted in one of its prompts. */
function calibrated(
  workload: Workload,
  prompt: ReturnType<Workload["conversation"]>[number]["prompt"],
  counted: number | null,
): Workload {
  const { spec } = workload;
  if (spec.kind === "file" || !("wordsPerToken" in spec.prompts) || !counted) return workload;
  const text = typeof prompt === "string" ? prompt : (prompt as readonly { content: string }[])[0]!.content;
  const wordsPerToken = calibrateWords(text.split(" ").length, counted);
  return createWorkload({ ...spec, prompts: { wordsPerToken } });
}

function warmUpFailed(options: WarmUpOptions, record: RequestRecord, workload: Workload): MillraceError {
  return new MillraceError(
    "endpoint_failed",
    `The warm-up request to ${options.target.endpoints[record.endpoint]!.url} failed: ${sentence(record.error!)} ${warmUpAdvice(options, record, workload)}`.trimEnd(),
  );
}

/** What to do, by what went wrong. */
function warmUpAdvice(
  { target: { model }, readyTimeoutMs }: WarmUpOptions,
  { status, errorKind, retryAfterSeconds }: RequestRecord,
  workload: Workload,
): string {
  const path = workload.promptForm === "chat" ? "/v1/chat/completions" : "/v1/completions";
  const size = workload.inputTokens === 0 ? "" : ` with a prompt of ${workload.inputTokens} tokens`;
  if (errorKind === "connect") return "Start the server, or correct the URL; it is the part before /v1.";
  // What is said of a certificate says what to do.
  if (errorKind === "tls") return "";
  if (errorKind === "timeout")
    return "Give it more time (--timeout of bench, --request-timeout of flow), or look at its log.";
  if (errorKind === "overloaded") return roomAdvice(readyTimeoutMs, retryAfterSeconds);
  if (status === 401 || status === 403) return "Give the right --api-key.";
  if (status === 404)
    return `It has no POST ${path}, or no model ${JSON.stringify(model)}: correct the URL, the part before /v1, or --model.`;
  if (errorKind === "malformed")
    return `It must take streaming POST ${path}: correct the URL, which is the part before /v1.`;
  return `The server must take streaming POST ${path}${size}; look at its log.`;
}

/** Who loads without a time to wait, as the flow does, has no flag for it. */
function roomAdvice(readyTimeoutMs: number | undefined, retryAfterSeconds: number | null): string {
  if (readyTimeoutMs === undefined) return "Try again when it has room.";
  const asked = retryAfterSeconds === null ? "" : ` (it asks for ${retryAfterSeconds} s)`;
  return `Try again when it has room, or wait for that with --ready-timeout, which is ${readyTimeoutMs / 1000} s now${asked}.`;
}
