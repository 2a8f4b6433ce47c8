import assert from "node:assert/strict";
import fc from "fast-check";
import { expect, test } from "vitest";
import { TenantTable } from "../tenant-table.ts";
import { FairQueueing } from "./fair-queueing.ts";

interface Shape {
  readonly promptTokens: number;
  readonly outputTokens: number;
}

interface World {
  readonly numPlaces: number;
  readonly weights: readonly number[];
  readonly shapes: readonly Shape[];
}

const maxTokens = 40;

/** Dyadic weights, so that every division is exact. */
const worlds: fc.Arbitrary<World> = fc.record({
  numPlaces: fc.integer({ min: 1, max: 5 }),
  weights: fc.array(fc.constantFrom(0.5, 1, 2, 4), { minLength: 2, maxLength: 4 }),
  shapes: fc.array(
    fc.record({
      promptTokens: fc.integer({ min: 1, max: 20 }),
      outputTokens: fc.integer({ min: 1, max: maxTokens - 20 }),
    }),
    { minLength: 1, maxLength: 7 },
  ),
});

/** Runs tenants that always have something waiting: a step computes a prompt, or one token, of each running row. */
function simulate(world: World, numSteps: number, onStep: (servedTokens: readonly number[]) => void): void {
  const { numPlaces, weights, shapes } = world;
  const numRows = numPlaces + weights.length * 2;
  const names = weights.map((_, tenant) => `tenant ${tenant}`);
  const tenants = new TenantTable(numRows, new Map(names.map((name, tenant) => [name, weights[tenant]!])));
  const policy = new FairQueueing(tenants);
  const freeRows = Array.from({ length: numRows }, (_, row) => row);
  const running: { row: number; tenant: number; shape: Shape; numDone: number }[] = [];
  const tenantOf = new Map<number, number>();
  const served = weights.map(() => 0);
  let numOpened = 0;
  const open = (tenant: number): void => {
    const row = freeRows.pop()!;
    tenants.open(row, names[tenant]!);
    tenantOf.set(row, tenant);
    policy.enqueue(row);
  };
  for (const tenant of weights.keys()) open(tenant);
  for (let step = 0; step < numSteps; step += 1) {
    while (running.length < numPlaces) {
      const row = policy.peek();
      const tenant = tenantOf.get(row)!;
      open(tenant);
      policy.remove(row);
      running.push({ row, tenant, shape: shapes[numOpened++ % shapes.length]!, numDone: 0 });
    }
    for (const sequence of running.splice(0)) {
      const { row, tenant, shape } = sequence;
      const numTokens = sequence.numDone === 0 ? shape.promptTokens : 1;
      policy.charge(row, numTokens);
      served[tenant]! += numTokens;
      sequence.numDone += numTokens;
      if (sequence.numDone < shape.promptTokens + shape.outputTokens) running.push(sequence);
      else {
        tenants.close(row);
        freeRows.push(row);
      }
    }
    onStep(served);
  }
}

test("tenants that always wait are served by their weights, at every moment within what one has running", () => {
  fc.assert(
    fc.property(worlds, (world) => {
      simulate(world, 200, (served) => {
        for (const [a, weightA] of world.weights.entries()) {
          const bound = (world.numPlaces * maxTokens) / weightA;
          for (const [b, weightB] of world.weights.entries()) {
            assert(served[a]! / weightA - served[b]! / weightB <= bound);
          }
        }
      });
    }),
  );
});

test("shares come out as the weights say", () => {
  let last: readonly number[] = [];
  const shapes = [{ promptTokens: 7, outputTokens: 5 }];
  simulate({ numPlaces: 4, weights: [1, 2, 4], shapes }, 7000, (served) => (last = served));
  const total = last.reduce((sum, tokens) => sum + tokens, 0);
  expect(last.map((tokens) => (tokens / total) * 7)).toEqual([
    expect.closeTo(1, 1),
    expect.closeTo(2, 1),
    expect.closeTo(4, 1),
  ]);
});

/** Rows belong to the tenant of the letter at their place. */
function start(letters: string): { policy: FairQueueing; tenants: TenantTable } {
  const tenants = new TenantTable(letters.length, new Map());
  for (const [row, letter] of Array.from(letters).entries()) tenants.open(row, letter);
  return { policy: new FairQueueing(tenants), tenants };
}

function take(policy: FairQueueing): number {
  const row = policy.peek();
  policy.remove(row);
  return row;
}

test("one request beside a crowd of another tenant starts next", () => {
  const { policy } = start("aaaaaaab");
  for (let row = 0; row < 7; row += 1) policy.enqueue(row);
  policy.charge(take(policy), 100);
  policy.enqueue(7);
  policy.charge(take(policy), 100);
  expect(take(policy)).toBe(7);
});

test("absence gives no credit: a tenant that comes back does not shut out the one that worked meanwhile", () => {
  const { policy } = start("aaaaabbbbb");
  policy.enqueue(0);
  policy.charge(take(policy), 1_000_000);
  for (const row of [1, 2, 3, 4, 5, 6, 7, 8]) policy.enqueue(row);
  const order: number[] = [];
  for (let count = 0; count < 8; count += 1) {
    const row = take(policy);
    order.push(row);
    policy.charge(row, 10);
  }
  expect(order).toEqual([1, 5, 2, 6, 3, 7, 4, 8]);
});

test("a tenant whose requests are set aside waits on and keeps its credit", () => {
  const { policy, tenants } = start("abab");
  const served = (): number[] => ["a", "b"].map((name) => tenants.served[tenants.find(name)]!);
  for (const row of [0, 1, 2, 3]) policy.enqueue(row);
  policy.charge(take(policy), 100);
  policy.charge(take(policy), 1000);
  const before = served();
  for (const row of [2, 3]) policy.setAside(row);
  expect(policy.peek()).toBe(-1);
  for (const row of [3, 2]) policy.callBack(row);
  expect(served()).toEqual(before);
  expect([take(policy), take(policy)]).toEqual([2, 3]);
});

test("what runs on after the queue has emptied counts for the start of a newcomer", () => {
  const { policy } = start("aab");
  policy.enqueue(0);
  const running = take(policy);
  policy.charge(running, 500);
  policy.enqueue(2);
  policy.enqueue(1);
  policy.charge(running, 1);
  expect(take(policy)).toBe(2);
  policy.charge(2, 2);
  expect(take(policy)).toBe(1);
});

test("a preempted sequence comes back in front of its own tenant's, in order of arrival", () => {
  const { policy } = start("aaab");
  for (const row of [0, 1, 2, 3]) policy.enqueue(row);
  policy.remove(0);
  policy.remove(1);
  policy.requeue(1);
  policy.requeue(0);
  policy.charge(0, 1);
  expect([take(policy), take(policy), take(policy), take(policy)]).toEqual([3, 0, 1, 2]);
  expect(policy.peek()).toBe(-1);
  expect(policy.numWaiting).toBe(0);
});

test("of tenants that were served alike, the one whose request came first is next", () => {
  const { policy } = start("abc");
  for (const row of [2, 0, 1]) policy.enqueue(row);
  expect([take(policy), take(policy), take(policy)]).toEqual([2, 0, 1]);
});

/** The rule written down plainly: counters by name, the waiting rows in a sorted array. */
class PlainRule {
  readonly served = new Map<string, number>();
  readonly waiting: { row: number; name: string; arrival: number }[] = [];
  readonly #numTenants: number;
  #time = 0;
  #last: string | null = null;

  constructor(numTenants: number) {
    this.#numTenants = numTenants;
  }

  #least(): number {
    return Math.min(...this.waiting.map(({ name }) => this.served.get(name)!));
  }

  add(row: number, name: string, arrival: number): void {
    if (!this.waiting.some((each) => each.name === name)) {
      const now =
        this.waiting.length > 0 ? this.#least() : this.#last === null ? 0 : this.served.get(this.#last)!;
      this.#time = Math.max(this.#time, now);
      this.served.set(name, Math.max(this.served.get(name) ?? 0, this.#time));
    }
    this.waiting.push({ row, name, arrival });
    this.waiting.sort((a, b) => a.arrival - b.arrival);
  }

  charge(name: string, numTokens: number): void {
    this.served.set(name, this.served.get(name)! + numTokens);
    this.#time += numTokens / this.#numTenants;
  }

  next(): number {
    const least = this.#least();
    return this.waiting.find(({ name }) => this.served.get(name) === least)?.row ?? -1;
  }

  take(row: number): void {
    const index = this.waiting.findIndex((each) => each.row === row);
    const { name } = this.waiting[index]!;
    this.waiting.splice(index, 1);
    if (this.waiting.length === 0) this.#last = name;
  }
}

test("agrees with the plainly written rule after any history", () => {
  const letters = "aaabbbcc";
  const action = fc.record({
    kind: fc.constantFrom("enqueue", "start", "preempt", "charge", "abort"),
    row: fc.nat(letters.length - 1),
    numTokens: fc.integer({ min: 1, max: 50 }),
  });
  fc.assert(
    fc.property(fc.array(action, { maxLength: 150 }), (history) => {
      const { policy } = start(letters);
      const rule = new PlainRule(new Set(letters).size);
      const states = new Map<number, "waiting" | "running">();
      const arrivals = new Map<number, number>();
      let numArrived = 0;
      for (const { kind, row, numTokens } of history) {
        const name = letters[row]!;
        const state = states.get(row);
        if (kind === "enqueue" && state === undefined) {
          arrivals.set(row, numArrived++);
          rule.add(row, name, arrivals.get(row)!);
          policy.enqueue(row);
          states.set(row, "waiting");
        } else if (kind === "start" && policy.numWaiting > 0) {
          const next = rule.next();
          assert.equal(policy.peek(), next);
          rule.take(next);
          policy.remove(next);
          states.set(next, "running");
        } else if (kind === "preempt" && state === "running") {
          rule.add(row, name, arrivals.get(row)!);
          policy.requeue(row);
          states.set(row, "waiting");
        } else if (kind === "charge" && state === "running") {
          rule.charge(name, numTokens);
          policy.charge(row, numTokens);
        } else if (kind === "abort" && state === "waiting") {
          rule.take(row);
          policy.remove(row);
          states.delete(row);
        }
        assert.equal(policy.numWaiting, rule.waiting.length);
        assert.equal(policy.peek(), rule.waiting.length === 0 ? -1 : rule.next());
      }
    }),
  );
});

test("nobody starves: who has used its share starts again, however many newcomers keep coming", () => {
  const shape = fc.record({
    debt: fc.integer({ min: 1, max: 400 }),
    numNewcomers: fc.integer({ min: 1, max: 5 }),
    numTokens: fc.integer({ min: 1, max: 30 }),
  });
  fc.assert(
    fc.property(shape, ({ debt, numNewcomers, numTokens }) => {
      const numRows = numNewcomers + 2;
      const tenants = new TenantTable(numRows, new Map());
      const policy = new FairQueueing(tenants);
      let numCame = 0;
      const come = (row: number): void => {
        tenants.open(row, `newcomer ${numCame++}`);
        policy.enqueue(row);
      };
      tenants.open(0, "old");
      policy.enqueue(0);
      for (let row = 2; row < numRows; row += 1) come(row);
      policy.remove(0);
      policy.charge(0, debt);
      tenants.close(0);
      tenants.open(1, "old");
      policy.enqueue(1);
      // Each newcomer asks once; another takes its place in the queue before it has left.
      let numStarted = 0;
      for (let row = policy.peek(); row !== 1; row = policy.peek()) {
        numStarted += 1;
        // All that wait together may get what the old one has had, and each what it began with.
        assert(numStarted * numTokens <= (debt + numTokens) * (numNewcomers + 2));
        policy.remove(row);
        policy.charge(row, numTokens);
        tenants.close(row);
        come(row);
      }
    }),
  );
});
