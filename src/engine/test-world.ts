import assert from "node:assert/strict";
import { kvMoveKinds } from "../kernels/ops.ts";
import { BlockPool } from "./block-pool.ts";
import { EngineCounters } from "./engine-stats.ts";
import { HostTier } from "./host-tier.ts";
import { KvManager, type PreemptionCosts } from "./kv-manager.ts";
import { createPolicy } from "./policies/create-policy.ts";
import { PrefixCache } from "./prefix-cache.ts";
import { PrefixIndex } from "./prefix-index.ts";
import { Scheduler, type SchedulerLimits, type StepPlan } from "./scheduler.ts";
import type { SchedulingPolicyName } from "./scheduling-policy.ts";
import { SequenceTable, sequenceKinds } from "./sequence-table.ts";
import { TenantTable } from "./tenant-table.ts";
import { createVictimPolicy, type VictimPolicyName } from "./victim-policy.ts";
import { WaitingQueue } from "./waiting-queue.ts";

export interface Arrival {
  /** Step before which it arrives. */
  readonly step: number;
  readonly prompt: readonly number[];
  readonly maxTokens: number;
  /** Step before which it is aborted, if it is still open. */
  readonly abortStep: number | null;
  /** A score has no output; it wants the model's rows from this position on. */
  readonly scoreStart?: number;
  readonly cacheSalt?: string;
  readonly priority?: number;
  readonly tenant?: string;
}

export interface World {
  readonly limits: SchedulerLimits;
  readonly blockSize: number;
  readonly numBlocks: number;
  readonly numHostBlocks: number;
  readonly isSharing: boolean;
  readonly victims: VictimPolicyName;
  /** What it costs to compute a lost token again, and to swap a block, when a sequence is preempted. */
  readonly costs: { readonly token: number; readonly block: number };
  /** Guesses after each decoded token. */
  readonly numDrafts: number;
  readonly arrivals: readonly Arrival[];
  /** Default: `fcfs`. */
  readonly policy?: SchedulingPolicyName;
  /** Steps before which the prefix cache is told to forget everything. */
  readonly resetSteps?: readonly number[];
  /** Hits are computed anew and compared. */
  readonly isChecking?: boolean;
  /** Step before which the content of all free blocks is spoilt, as a fault would. */
  readonly spoilStep?: number;
}

export interface PlannedStep {
  readonly planned: { readonly sequence: number; readonly first: number; readonly count: number }[];
  readonly numRunning: number;
  /** Sequences that had arrived and not ended when the step was planned. */
  readonly open: readonly number[];
}

export interface History {
  readonly steps: PlannedStep[];
  readonly finished: number[];
  readonly outputs: Map<number, number[]>;
  readonly numComputedTokens: number;
  readonly counters: EngineCounters;
}

/** Tokens of the little model: it draws one that depends on everything before it. */
const vocabSize = 3;

/** What the cache holds for a token: a number that depends on it and on all before it. */
function stateAfter(state: number, token: number): number {
  return Math.imul(state ^ (token + 1), 0x01000193) >>> 0;
}

function draw(state: number): number {
  return (state >>> 7) % vocabSize;
}

/**
 * Runs a whole history with a model that is a hash: the state of a position is computed from the state that the cache
 * holds for the one before. If a block ever held anything but the sequence's own past, its states, and with them its
 * outputs, would be others than those of the sequence alone.
 */
export function runWorld(world: World): History {
  return new WorldRun(world).run();
}

/** What a sequence draws when it is alone. */
export function outputAlone(arrival: Arrival): number[] {
  let state = 0;
  for (const token of arrival.prompt) state = stateAfter(state, token);
  const output: number[] = [];
  while (output.length < arrival.maxTokens) {
    const token = draw(state);
    output.push(token);
    state = stateAfter(state, token);
  }
  return output;
}

class WorldRun {
  readonly #world: World;
  readonly #table: SequenceTable;
  readonly #counters = new EngineCounters();
  readonly #pool: BlockPool;
  readonly #kv: KvManager;
  readonly #scheduler: Scheduler;
  readonly #tenants: TenantTable;
  readonly #queue: WaitingQueue;
  readonly #cache: Uint32Array;
  readonly #host: Uint32Array;
  readonly #priorities: Int32Array;
  readonly #rows = new Map<number, number>();
  readonly #arrived = new Set<number>();
  readonly #steps: PlannedStep[] = [];
  readonly #finished: number[] = [];
  readonly #outputs = new Map<number, number[]>();
  #numComputedTokens = 0;

  constructor(world: World) {
    const { blockSize, numBlocks, numHostBlocks, isSharing, limits } = world;
    this.#world = world;
    const table = new SequenceTable(world.arrivals.length + 1, blockSize);
    this.#table = table;
    this.#pool = new BlockPool(numBlocks);
    const costs: PreemptionCosts = {
      recompute: (numTokens) => numTokens * world.costs.token,
      swap: (count) => count * world.costs.block,
    };
    const counters = this.#counters;
    const index = new PrefixIndex(numBlocks, blockSize);
    const comparison = world.isChecking === true ? { compare: this.#areEqual.bind(this) } : {};
    const prefixes = new PrefixCache({ table, index, isSharing, counters, ...comparison });
    const host = new HostTier(numHostBlocks, blockSize);
    this.#kv = new KvManager({ table, pool: this.#pool, prefixes, host, costs, counters });
    this.#priorities = new Int32Array(table.capacity);
    this.#tenants = new TenantTable(table.capacity, new Map([["gold", 4]]));
    const policy = createPolicy(world.policy ?? "fcfs", this.#priorities, this.#tenants);
    this.#queue = new WaitingQueue(policy, this.#tenants, table.numPromptTokens);
    const victims = createVictimPolicy(world.victims, {
      priorities: this.#priorities,
      numBlocks: table.numBlocks,
    });
    this.#scheduler = new Scheduler({ limits, table, kv: this.#kv, queue: this.#queue, victims, counters });
    this.#cache = new Uint32Array(numBlocks * blockSize);
    this.#host = new Uint32Array(numHostBlocks * blockSize);
  }

  run(): History {
    for (let step = 0; this.#arrived.size < this.#world.arrivals.length || this.#rows.size > 0; step += 1) {
      assert(step < 20_000, "the history does not end");
      if (this.#world.resetSteps?.includes(step) === true) this.#kv.reset();
      if (this.#world.spoilStep === step) this.#spoil();
      this.#arrive(step);
      this.#step();
      this.#kv.check();
      // Whoever is open and does not run waits, whatever it waits for.
      assert.equal(this.#scheduler.numRunning + this.#queue.numWaiting, this.#rows.size);
    }
    assert.equal(this.#table.numOpen, 0);
    assert.equal(this.#scheduler.numRunning + this.#scheduler.numWaiting, 0);
    assert.equal(this.#queue.numWaitingTokens, 0);
    this.#kv.checkIdle(0, this.#world.numBlocks);
    return {
      steps: this.#steps,
      finished: this.#finished,
      outputs: this.#outputs,
      numComputedTokens: this.#numComputedTokens,
      counters: this.#counters,
    };
  }

  #arrive(step: number): void {
    for (const [sequence, arrival] of this.#world.arrivals.entries()) {
      const row = this.#rows.get(sequence);
      if (row !== undefined && arrival.abortStep === step) this.#remove(sequence);
      if (this.#arrived.has(sequence) || arrival.step > step) continue;
      this.#arrived.add(sequence);
      const { scoreStart, prompt, cacheSalt } = arrival;
      const kind = scoreStart === undefined ? sequenceKinds.generate : sequenceKinds.score;
      const opened = this.#table.open(sequence, kind, prompt, scoreStart);
      this.#kv.admit(opened, cacheSalt === undefined ? {} : { cacheSalt });
      this.#tenants.open(opened, arrival.tenant ?? "");
      this.#rows.set(sequence, opened);
      this.#priorities[opened] = arrival.priority ?? 0;
      this.#scheduler.add(opened);
    }
  }

  #spoil(): void {
    for (let slot = 0; slot < this.#cache.length; slot += 1)
      if (this.#pool.refCount(Math.floor(slot / this.#world.blockSize)) === 0) this.#cache[slot]! ^= 1;
  }

  #areEqual(blockA: number, blockB: number, numTokens: number): boolean {
    const { blockSize } = this.#world;
    const content = (block: number): Uint32Array =>
      this.#cache.subarray(block * blockSize, block * blockSize + numTokens);
    return content(blockA).every((state, index) => state === content(blockB)[index]);
  }

  #step(): void {
    const open = [...this.#rows.keys()];
    const plan = this.#scheduler.schedule();
    this.#checkPlan(plan);
    const planned = Array.from({ length: plan.numSeqs }, (_, index) => {
      const row = plan.rows[index]!;
      return {
        sequence: this.#table.handles[row]!,
        first: this.#table.numComputed[row]!,
        count: plan.numNewTokens[index]!,
      };
    });
    this.#steps.push({ planned, numRunning: this.#scheduler.numRunning, open });
    this.#move();
    const drawn = planned.map((part, index) => this.#compute(plan.rows[index]!, part.first, part.count));
    for (const [index, tokens] of drawn.entries()) this.#collect(plan.rows[index]!, tokens);
    this.#scheduler.commit(plan);
    for (const { sequence } of planned) this.#finish(sequence);
  }

  #checkPlan(plan: StepPlan): void {
    const table = this.#table;
    const { limits } = this.#world;
    let numTokens = 0;
    const seen = new Set<number>();
    for (let index = 0; index < plan.numSeqs; index += 1) {
      const row = plan.rows[index]!;
      const count = plan.numNewTokens[index]!;
      assert(!seen.has(row));
      seen.add(row);
      assert(count > 0);
      if (limits.longPrefillTokenThreshold > 0) assert(count <= limits.longPrefillTokenThreshold);
      numTokens += count;
      const end = table.numComputed[row]! + count;
      assert(end <= table.numTarget[row]!);
      assert(table.numBlocks[row]! * table.blockSize >= end);
      if (table.kind[row] === sequenceKinds.score)
        assert(table.numCached[row]! <= this.#world.arrivals[table.handles[row]!]!.scoreStart! - 1);
    }
    assert.equal(numTokens, plan.numTokens);
    assert(numTokens <= limits.maxNumBatchedTokens);
    assert(plan.numSeqs <= limits.maxNumSeqs);
    this.#numComputedTokens += numTokens;
  }

  #move(): void {
    const { moves } = this.#kv;
    const { blockSize } = this.#world;
    for (let index = 0; index < moves.count; index += 1) {
      const from = moves.kinds[index] === kvMoveKinds.in ? this.#host : this.#cache;
      const to = moves.kinds[index] === kvMoveKinds.out ? this.#host : this.#cache;
      const source = moves.sources[index]! * blockSize;
      to.set(from.slice(source, source + moves.numTokens[index]!), moves.targets[index]! * blockSize);
    }
    moves.clear();
  }

  /** Computes the states of `count` positions and draws after those that follow a known token. */
  #compute(row: number, first: number, count: number): number[] {
    const ids = this.#table.tokenIds(row);
    const drawn: number[] = [];
    let state = first === 0 ? 0 : this.#cache[this.#slot(row, first - 1)]!;
    for (let position = first; position < first + count; position += 1) {
      const slot = this.#slot(row, position);
      assert.equal(
        this.#pool.refCount(Math.floor(slot / this.#world.blockSize)),
        1,
        "a shared block is written",
      );
      state = stateAfter(state, ids[position]!);
      this.#cache[slot] = state;
      if (position >= this.#table.numTokens[row]! - 1) drawn.push(draw(state));
    }
    return drawn;
  }

  #collect(row: number, drawn: readonly number[]): void {
    const table = this.#table;
    const sequence = table.handles[row]!;
    if (table.kind[row] === sequenceKinds.score) return;
    const output = this.#outputs.get(sequence) ?? [];
    this.#outputs.set(sequence, output);
    for (const token of drawn) {
      const guess = table.tokenIds(row)[table.numTokens[row]!];
      table.append(row, token);
      output.push(token);
      if (guess !== token || output.length === this.#world.arrivals[sequence]!.maxTokens) break;
    }
    const room = this.#world.arrivals[sequence]!.maxTokens - output.length - 1;
    const count = Math.min(this.#world.numDrafts, room);
    // Some guesses are right by chance; that is what is to be tested.
    if (drawn.length > 0 && count > 0)
      table.setDrafts(
        row,
        Int32Array.from({ length: count }, (_, i) => i % vocabSize),
        count,
      );
  }

  #finish(sequence: number): void {
    const row = this.#rows.get(sequence)!;
    const table = this.#table;
    const isComplete =
      table.kind[row] === sequenceKinds.score
        ? table.numComputed[row] === table.numTarget[row]
        : table.numOutputTokens(row) === this.#world.arrivals[sequence]!.maxTokens;
    if (!isComplete) return;
    this.#finished.push(sequence);
    this.#remove(sequence);
  }

  #remove(sequence: number): void {
    const row = this.#rows.get(sequence)!;
    this.#rows.delete(sequence);
    this.#scheduler.remove(row);
    this.#tenants.close(row);
  }

  #slot(row: number, position: number): number {
    const { blockSize } = this.#world;
    return (
      this.#table.blockTable(row)[Math.floor(position / blockSize)]! * blockSize + (position % blockSize)
    );
  }
}
