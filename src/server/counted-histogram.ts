import type { Gauge, MetricObjectWithValues, MetricValueWithName, Registry } from "prom-client";

type Labels = Readonly<Record<string, string>>;

/** A histogram whose counts are kept elsewhere, since prom-client's own can only be told of single values. */
export class CountedHistogram {
  readonly name: string;
  readonly help: string;
  readonly #edges: readonly number[];
  readonly #series = new Map<
    string,
    { readonly labels: Labels; readonly counts: readonly number[]; readonly sum: number }
  >();

  constructor(name: string, help: string, edges: readonly number[], registry: Registry) {
    this.name = name;
    this.help = help;
    this.#edges = edges;
    // A registry only ever calls `get`; the type of a metric that is made by hand is missing.
    registry.registerMetric(this as unknown as Gauge);
  }

  /** @param counts [edges + 1] values up to each edge and above the one before; the last of them above all edges */
  set(labels: Labels, counts: readonly number[], sum: number): void {
    this.#series.set(JSON.stringify(labels), { labels, counts, sum });
  }

  get(): Promise<MetricObjectWithValues<MetricValueWithName<string>>> {
    const values = [...this.#series.values()].flatMap(({ labels, counts, sum }) => {
      let count = 0;
      const buckets = [...this.#edges, "+Inf"].map((le, at) => {
        count += counts[at]!;
        return { value: count, labels: { le, ...labels }, metricName: `${this.name}_bucket` };
      });
      const total = { labels, metricName: `${this.name}_sum`, value: sum };
      return [...buckets, total, { labels, metricName: `${this.name}_count`, value: count }];
    });
    const { name, help } = this;
    return Promise.resolve({ name, help, type: "histogram", values, aggregator: "sum" } as never);
  }

  reset(): void {
    this.#series.clear();
  }
}
