import { invariant } from "../base/invariant.ts";

/**
 * The tenants of the open requests, each at a slot that stays the same while it has one. There is one slot more than
 * rows, so a newcomer always finds one; it takes that of the idle tenant that got least, whose books say nothing that
 * a fresh start would not. So the memory is bounded whatever names come, and a tenant that got more than its share is
 * remembered longest.
 */
export class TenantTable {
  readonly numSlots: number;
  /** [rows] slot of each open row. */
  readonly ofRow: Int32Array;
  /** [slots] share of the service; 1 unless set. */
  readonly weights: Float64Array;
  /** [slots] tokens served, divided by the weight: the virtual time that the tenant has used. */
  readonly served: Float64Array;
  readonly #configuredWeights: ReadonlyMap<string, number>;
  readonly #slots = new Map<string, number>();
  readonly #names: (string | null)[];
  /** [slots] open rows. */
  readonly #numOpen: Int32Array;
  #openWeight = 0;
  #numOpenTenants = 0;

  /** @param weights tenants whose weight is not 1 */
  constructor(numRows: number, weights: ReadonlyMap<string, number>) {
    const numSlots = numRows + 1;
    this.numSlots = numSlots;
    this.ofRow = new Int32Array(numRows).fill(-1);
    this.weights = new Float64Array(numSlots).fill(1);
    this.served = new Float64Array(numSlots);
    this.#configuredWeights = weights;
    this.#names = Array.from({ length: numSlots }, () => null);
    this.#numOpen = new Int32Array(numSlots);
  }

  /** Slot of a tenant, or −1 when it is not known (any more). */
  find(name: string): number {
    return this.#slots.get(name) ?? -1;
  }

  /** Weights of all tenants with an open row together. */
  get openWeight(): number {
    return this.#openWeight;
  }

  /** A row opens for a tenant. */
  open(row: number, name: string): void {
    invariant(this.ofRow[row] === -1, `row ${row} has a tenant already`);
    const slot = this.#slots.get(name) ?? this.#takeSlot(name);
    this.ofRow[row] = slot;
    this.#numOpen[slot]! += 1;
    if (this.#numOpen[slot] === 1) this.#weigh(slot, 1);
  }

  /** The row closes. */
  close(row: number): void {
    const slot = this.ofRow[row]!;
    invariant(slot !== -1, `row ${row} has no tenant`);
    this.ofRow[row] = -1;
    this.#numOpen[slot]! -= 1;
    if (this.#numOpen[slot] === 0) this.#weigh(slot, -1);
  }

  /** Starts from 0 again whenever nobody is open, so that rounding does not add up. */
  #weigh(slot: number, sign: 1 | -1): void {
    this.#numOpenTenants += sign;
    this.#openWeight = this.#numOpenTenants === 0 ? 0 : this.#openWeight + sign * this.weights[slot]!;
  }

  #takeSlot(name: string): number {
    const slot = this.#slots.size < this.numSlots ? this.#slots.size : this.#forgetOne();
    this.#slots.set(name, slot);
    this.#names[slot] = name;
    this.weights[slot] = this.#configuredWeights.get(name) ?? 1;
    this.served[slot] = 0;
    return slot;
  }

  #forgetOne(): number {
    let least = -1;
    for (let slot = 0; slot < this.numSlots; slot += 1) {
      if (this.#numOpen[slot]! > 0) continue;
      if (least === -1 || this.served[slot]! < this.served[least]!) least = slot;
    }
    invariant(least !== -1, "more open tenants than rows");
    this.#slots.delete(this.#names[least]!);
    return least;
  }
}
