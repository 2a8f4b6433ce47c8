import { MillraceError } from "../base/errors.ts";
import { formatCount, formatDuration } from "../base/units.ts";
import type { RequestScheduling } from "../protocol/engine-client.ts";
import { checkScheduling } from "./check-scheduling.ts";
import { Deadlines } from "./deadlines.ts";
import { createPolicy } from "./policies/create-policy.ts";
import type { SchedulingPolicyName } from "./scheduling-policy.ts";
import { TenantTable } from "./tenant-table.ts";
import { WaitEstimate } from "./wait-estimate.ts";
import { type RowsAhead, WaitingQueue } from "./waiting-queue.ts";

export interface AdmissionSettings {
  readonly schedulingPolicy: SchedulingPolicyName;
  /** Tenants whose share is not 1, for fair queueing. */
  readonly tenantWeights: ReadonlyMap<string, number>;
  /** Whether a request's priority means something: to the order of waiting, or to the choice of victims. */
  readonly usesPriority: boolean;
  readonly maxNumSeqs: number;
  readonly maxNumBatchedTokens: number;
  readonly maxNumQueuedRequests: number;
  /** Most prompt tokens that wait; 0 for no cap. */
  readonly maxNumQueuedTokens: number;
  /** Most waiting requests of one tenant; 0 for no cap. */
  readonly maxNumQueuedRequestsPerTenant: number;
}

/** What admission asks of a request. */
export interface Arrival {
  readonly numPromptTokens: number;
  readonly scheduling: RequestScheduling | undefined;
  /** When it came, by the engine's clock. */
  readonly arrivalMs: number;
}

/** How full the engine is. */
export interface EngineLoad {
  readonly numWaiting: number;
  readonly numRunning: number;
}

/**
 * Decides whether a request is taken, before any work is done for it, and keeps the books for that: the waiting
 * queue, tenants, priorities, deadlines and measured times. It reads no clock; times are given to it.
 */
export class AdmissionControl {
  /** The scheduler's queue. */
  readonly queue: WaitingQueue;
  /** [rows] lower starts sooner; for the policies. */
  readonly priorities: Int32Array;
  readonly estimate: WaitEstimate;
  readonly #settings: AdmissionSettings;
  readonly #tenants: TenantTable;
  readonly #deadlines: Deadlines;
  /** [rows] tokens to compute before something can be drawn. */
  readonly #numTokens: Int32Array;
  /** [rows] time given from arrival, in milliseconds; only for rows that have a deadline. */
  readonly #deadlineMs: Float64Array;
  readonly #ahead: RowsAhead = { numRows: 0, numTokens: 0 };

  /** @param numRows rows of the sequence table */
  constructor(settings: AdmissionSettings, numRows: number) {
    this.#settings = settings;
    this.#tenants = new TenantTable(numRows, settings.tenantWeights);
    this.#deadlines = new Deadlines(numRows);
    this.#numTokens = new Int32Array(numRows);
    this.#deadlineMs = new Float64Array(numRows);
    this.priorities = new Int32Array(numRows);
    this.estimate = new WaitEstimate(settings.maxNumBatchedTokens);
    const policy = createPolicy(settings.schedulingPolicy, this.priorities, this.#tenants);
    this.queue = new WaitingQueue(policy, this.#tenants, this.#numTokens);
  }

  /**
   * Refuses a request that cannot be taken now.
   *
   * Errors: `invalid_request` for scheduling fields without meaning; `tenant_queue_full`, `engine_overloaded` and
   * `deadline_unreachable` with the seconds after which to try again.
   */
  check(arrival: Arrival, load: EngineLoad, nowMs: number): void {
    if (arrival.scheduling !== undefined) checkScheduling(arrival.scheduling, this.#settings.usesPriority);
    this.#checkTenant(arrival, load);
    this.#checkRequests(load);
    this.#checkTokens(arrival, load);
    this.#checkDeadline(arrival, load, nowMs);
  }

  /** Whether the queue takes nothing more, whatever comes. */
  isFull({ numWaiting }: EngineLoad): boolean {
    const { maxNumQueuedRequests, maxNumQueuedTokens } = this.#settings;
    if (numWaiting >= maxNumQueuedRequests) return true;
    return maxNumQueuedTokens > 0 && this.queue.numWaitingTokens >= maxNumQueuedTokens;
  }

  /** Whole seconds until about half of what waits has started, at least 1: then a retry is likely to get in. */
  retryAfterSeconds({ numWaiting, numRunning }: EngineLoad): number {
    const seconds = this.estimate.secondsFor({
      numPromptTokens: this.queue.numWaitingTokens,
      numEnds: Math.max(0, numWaiting + numRunning - this.#settings.maxNumSeqs),
      numRunning,
    });
    return Math.max(1, Math.ceil(seconds / 2));
  }

  /** Notes an opened row, before it is enqueued. */
  admit(row: number, arrival: Arrival): void {
    const { priority = 0, tenant = "", deadlineMs } = arrival.scheduling ?? {};
    this.priorities[row] = priority;
    this.#numTokens[row] = arrival.numPromptTokens;
    this.#tenants.open(row, tenant);
    if (deadlineMs === undefined) return;
    this.#deadlineMs[row] = deadlineMs;
    this.#deadlines.set(row, arrival.arrivalMs + deadlineMs);
  }

  /** Forgets a row that closes, after it has left the queue. */
  release(row: number): void {
    this.#tenants.close(row);
    this.#deadlines.clear(row);
  }

  /** Rows whose deadline has passed, as many as `into` holds; each is told once. See `Deadlines.expired`. */
  expired(nowMs: number, into: Int32Array): number {
    return this.#deadlines.expired(nowMs, into);
  }

  /** The error that ends an expired row. */
  deadlineError(row: number, numOutputTokens: number): MillraceError {
    const progress =
      numOutputTokens === 0
        ? "before its first token"
        : `after ${formatCount(numOutputTokens)} output tokens`;
    return new MillraceError(
      "deadline_exceeded",
      `The request's deadline of ${formatDuration(this.#deadlineMs[row]!)} passed ${progress}. Give it a later ` +
        "deadline, or ask for fewer tokens.",
      { param: "deadline_ms" },
    );
  }

  #checkTenant({ scheduling }: Arrival, load: EngineLoad): void {
    const most = this.#settings.maxNumQueuedRequestsPerTenant;
    if (most === 0) return;
    const name = scheduling?.tenant ?? "";
    const numWaiting = this.queue.numWaitingOf(this.#tenants.find(name));
    if (numWaiting < most) return;
    throw new MillraceError(
      "tenant_queue_full",
      `${formatCount(numWaiting)} requests ${name === "" ? "without a tenant" : `of tenant "${name}"`} wait already; a ` +
        `tenant may have ${formatCount(most)}. ` +
        "Try again later, or start with a larger --max-num-queued-reqs-per-tenant.",
      { param: "tenant", retryAfterSeconds: this.retryAfterSeconds(load) },
    );
  }

  #checkRequests(load: EngineLoad): void {
    const most = this.#settings.maxNumQueuedRequests;
    if (load.numWaiting < most) return;
    throw new MillraceError(
      "engine_overloaded",
      `${formatCount(load.numWaiting)} requests wait already; the queue takes ${formatCount(most)}. Try again later, ` +
        "or start with a larger --max-num-queued-reqs.",
      { retryAfterSeconds: this.retryAfterSeconds(load) },
    );
  }

  /** A prompt longer than the cap is taken while none waits: else it could never be. */
  #checkTokens({ numPromptTokens }: Arrival, load: EngineLoad): void {
    const most = this.#settings.maxNumQueuedTokens;
    const { numWaitingTokens } = this.queue;
    if (most === 0 || numWaitingTokens === 0 || numWaitingTokens + numPromptTokens <= most) return;
    throw new MillraceError(
      "engine_overloaded",
      `${formatCount(numWaitingTokens)} prompt tokens wait already and the request has ${formatCount(numPromptTokens)}; ` +
        `the queue takes ${formatCount(most)}. Try again later, or start with a larger --max-num-queued-tokens.`,
      { retryAfterSeconds: this.retryAfterSeconds(load) },
    );
  }

  #checkDeadline({ numPromptTokens, scheduling, arrivalMs }: Arrival, load: EngineLoad, nowMs: number): void {
    const { deadlineMs, priority = 0, tenant = "" } = scheduling ?? {};
    if (deadlineMs === undefined) return;
    this.queue.measureAhead(priority, this.#tenants.find(tenant), this.#ahead);
    const numPlaces = Math.max(0, this.#settings.maxNumSeqs - load.numRunning);
    const waitMs =
      this.estimate.secondsFor({
        numPromptTokens: this.#ahead.numTokens + numPromptTokens,
        numEnds: Math.max(0, this.#ahead.numRows + 1 - numPlaces),
        numRunning: load.numRunning,
      }) * 1000;
    const leftMs = arrivalMs + deadlineMs - nowMs;
    if (leftMs > 0 && waitMs <= leftMs) return;
    throw new MillraceError(
      "deadline_unreachable",
      `The first token is ${formatDuration(waitMs)} away by the measured speed; the request's deadline ` +
        `${leftMs > 0 ? `leaves ${formatDuration(leftMs)}` : "had passed before the engine read it"}. Give it a later deadline, or try again later.`,
      { param: "deadline_ms", retryAfterSeconds: Math.max(1, Math.ceil((waitMs - leftMs) / 1000)) },
    );
  }
}
