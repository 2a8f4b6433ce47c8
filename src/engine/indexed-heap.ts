import { invariant } from "../base/invariant.ts";

/**
 * A binary heap of the numbers 0 … capacity − 1, each at most once, that knows where each stands: any of them can be
 * taken out, or moved when its key has changed, in O(log n). The keys lie with the owner; `isBefore` compares them.
 * Nothing is allocated after the constructor.
 */
export class IndexedHeap {
  readonly #isBefore: (a: number, b: number) => boolean;
  readonly #items: Int32Array;
  /** Where an item stands in `#items`; −1 when it is not in the heap. */
  readonly #places: Int32Array;
  #size = 0;

  constructor(capacity: number, isBefore: (a: number, b: number) => boolean) {
    this.#isBefore = isBefore;
    this.#items = new Int32Array(capacity);
    this.#places = new Int32Array(capacity).fill(-1);
  }

  get size(): number {
    return this.#size;
  }

  /** The item before all others, or −1. */
  get first(): number {
    return this.#size === 0 ? -1 : this.#items[0]!;
  }

  has(item: number): boolean {
    return this.#places[item]! >= 0;
  }

  add(item: number): void {
    invariant(!this.has(item), `item ${item} is already in the heap`);
    this.#put(item, this.#size);
    this.#size += 1;
    this.#rise(this.#size - 1);
  }

  remove(item: number): void {
    const place = this.#places[item]!;
    invariant(place >= 0, `item ${item} is not in the heap`);
    this.#places[item] = -1;
    this.#size -= 1;
    if (place === this.#size) return;
    const last = this.#items[this.#size]!;
    this.#put(last, place);
    this.moved(last);
  }

  /** Restores the order after the key of an item in the heap has changed. */
  moved(item: number): void {
    const place = this.#places[item]!;
    if (this.#rise(place) === place) this.#sink(place);
  }

  #put(item: number, place: number): void {
    this.#items[place] = item;
    this.#places[item] = place;
  }

  #rise(from: number): number {
    let place = from;
    const item = this.#items[place]!;
    while (place > 0) {
      const parentPlace = (place - 1) >> 1;
      const parent = this.#items[parentPlace]!;
      if (!this.#isBefore(item, parent)) break;
      this.#put(parent, place);
      place = parentPlace;
    }
    this.#put(item, place);
    return place;
  }

  #sink(from: number): void {
    let place = from;
    const item = this.#items[place]!;
    while (place * 2 + 1 < this.#size) {
      let childPlace = place * 2 + 1;
      const other = childPlace + 1;
      if (other < this.#size && this.#isBefore(this.#items[other]!, this.#items[childPlace]!))
        childPlace = other;
      const child = this.#items[childPlace]!;
      if (!this.#isBefore(child, item)) break;
      this.#put(child, place);
      place = childPlace;
    }
    this.#put(item, place);
  }
}
