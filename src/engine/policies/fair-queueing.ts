import { IndexedHeap } from "../indexed-heap.ts";
import type { SchedulingPolicy } from "../scheduling-policy.ts";
import type { TenantTable } from "../tenant-table.ts";
import { RowLists } from "./row-lists.ts";

/**
 * Weighted fair queueing between tenants: virtual token counters (Sheng et al. 2024, "Fairness in Serving Large
 * Language Models", algorithm 2). The tenant that has been served least, in tokens divided by its weight, starts its
 * oldest sequence next; prompt and output tokens are charged as they are computed. A tenant that comes back from
 * having nothing to wait for starts at the virtual time: neither credit for its absence nor debt.
 *
 * The virtual time is what the least served tenant that waits has got. Beyond the paper, it also goes on with the
 * service itself, as in generalised processor sharing: each token divided by the weight of all open tenants. Without
 * that it would stand still while newcomers that ask only once keep coming, all at the same virtual time, and who has
 * got more than that would never start again.
 *
 * Why counters and not the deficits of round robin (Shreedhar & Varghese 1995): a deficit is paid before a packet
 * is sent and needs its length, but how long an answer becomes is known only when it is there.
 *
 * Bounds: of two tenants that both wait, one is ahead by no more than its own sequences that run at a time can hold
 * (tokens divided by weight); and who comes after the virtual time has passed a waiting tenant starts after it. So
 * none starves.
 */
export class FairQueueing implements SchedulingPolicy {
  readonly #tenants: TenantTable;
  readonly #rows: RowLists;
  /** Tenants with a waiting row, the least served first, of equals the one whose first row arrived first. */
  readonly #waiting: IndexedHeap;
  #numWaiting = 0;
  /** Where tenants begin that come to wait; never falls. */
  #virtualTime = 0;
  /** The tenant whose leaving left the queue empty; −1 while someone waits. */
  #lastToLeave = -1;
  /** [slots] rows that were set aside, and their sum: a tenant that has one waits, though not among `#waiting`. */
  readonly #numAsideOf: Int32Array;
  #numAside = 0;

  constructor(tenants: TenantTable) {
    this.#tenants = tenants;
    this.#rows = new RowLists(tenants.ofRow.length, tenants.numSlots);
    this.#numAsideOf = new Int32Array(tenants.numSlots);
    this.#waiting = new IndexedHeap(tenants.numSlots, (a, b) => this.#isBefore(a, b));
  }

  get numWaiting(): number {
    return this.#numWaiting;
  }

  enqueue(row: number): void {
    const tenant = this.#tenants.ofRow[row]!;
    const isNew = this.#rows.first(tenant) === -1;
    this.#rows.append(tenant, row);
    this.#numWaiting += 1;
    if (isNew) this.#join(tenant);
  }

  requeue(row: number): void {
    const tenant = this.#tenants.ofRow[row]!;
    const isNew = this.#rows.first(tenant) === -1;
    this.#rows.restore(tenant, row);
    this.#numWaiting += 1;
    if (isNew) this.#join(tenant);
    else this.#waiting.moved(tenant);
  }

  peek(): number {
    const tenant = this.#waiting.first;
    return tenant === -1 ? -1 : this.#rows.first(tenant);
  }

  remove(row: number): void {
    const tenant = this.#tenants.ofRow[row]!;
    const wasFirst = this.#rows.first(tenant) === row;
    this.#rows.remove(row);
    this.#numWaiting -= 1;
    if (this.#rows.first(tenant) === -1) this.#leave(tenant);
    else if (wasFirst) this.#waiting.moved(tenant);
  }

  setAside(row: number): void {
    const tenant = this.#tenants.ofRow[row]!;
    this.#numAsideOf[tenant]! += 1;
    this.#numAside += 1;
    this.remove(row);
  }

  callBack(row: number): void {
    this.requeue(row);
    this.#numAsideOf[this.#tenants.ofRow[row]!]! -= 1;
    this.#numAside -= 1;
  }

  charge(row: number, numTokens: number): void {
    const { ofRow, served, weights } = this.#tenants;
    const tenant = ofRow[row]!;
    served[tenant]! += numTokens / weights[tenant]!;
    this.#passTo(this.#virtualTime + numTokens / this.#tenants.openWeight);
    if (this.#waiting.has(tenant)) this.#waiting.moved(tenant);
    else if (tenant === this.#lastToLeave) this.#passTo(served[tenant]!);
  }

  /** Of other tenants' rows none is sure to be ahead; of the same tenant's all are. */
  isAhead(row: number, _priority: number, tenant: number): boolean {
    return this.#tenants.ofRow[row] === tenant;
  }

  #join(tenant: number): void {
    const { served } = this.#tenants;
    if (this.#waiting.size > 0) this.#passTo(served[this.#waiting.first]!);
    this.#lastToLeave = -1;
    // One whose rows were set aside has waited all the time, and keeps its credit.
    if (this.#numAsideOf[tenant] === 0) served[tenant] = Math.max(served[tenant]!, this.#virtualTime);
    this.#waiting.add(tenant);
  }

  #leave(tenant: number): void {
    this.#waiting.remove(tenant);
    if (this.#waiting.size + this.#numAside > 0) return;
    this.#lastToLeave = tenant;
    this.#passTo(this.#tenants.served[tenant]!);
  }

  #passTo(time: number): void {
    this.#virtualTime = Math.max(this.#virtualTime, time);
  }

  #isBefore(a: number, b: number): boolean {
    const { served } = this.#tenants;
    const difference = served[a]! - served[b]!;
    if (difference !== 0) return difference < 0;
    const { arrivals } = this.#rows;
    return arrivals[this.#rows.first(a)]! < arrivals[this.#rows.first(b)]!;
  }
}
