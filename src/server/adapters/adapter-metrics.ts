import { Gauge, type Registry } from "prom-client";
import { labelNames, labelsOf } from "../engine-metrics.ts";
import type { ServedModel } from "../served-model.ts";

type Stage = "waiting" | "running";

/** Open sequences of one adapter. */
type Counts = Record<Stage, number>;

/** Which adapters of an engine have open sequences; vLLM's gauge, which routers read to send requests where an adapter is in use. */
export class AdapterMetrics {
  readonly #gauge: Gauge;
  /** By the model whose engine runs them, then by adapter. */
  readonly #open = new Map<string, Map<string, Counts>>();

  constructor(registry: Registry) {
    this.#gauge = new Gauge({
      name: "vllm:lora_requests_info",
      help: "Adapters with open sequences: with a token, and without one yet. The value is the time of this reading.",
      labelNames: [...labelNames, "max_lora", "running_lora_adapters", "waiting_lora_adapters"],
      registers: [registry],
    });
  }

  /** A sequence of an adapter begins to wait. A model's own sequences are not counted. */
  open(model: ServedModel): void {
    this.#change(model, "waiting", 1);
  }

  /** It has its first token. */
  begin(model: ServedModel): void {
    this.#change(model, "waiting", -1);
    this.#change(model, "running", 1);
  }

  close(model: ServedModel, hasBegun: boolean): void {
    this.#change(model, hasBegun ? "running" : "waiting", -1);
  }

  /** @param models those that have an engine */
  update(models: readonly ServedModel[]): void {
    // Else every set of names that ever was would stay.
    this.#gauge.reset();
    for (const model of models) {
      if (model.client.adapters === null) continue;
      const max_lora = model.client.adapters.maxNumAdapters;
      const running_lora_adapters = this.#namesOf(model.id, "running");
      const waiting_lora_adapters = this.#namesOf(model.id, "waiting");
      const labels = { max_lora, running_lora_adapters, waiting_lora_adapters };
      this.#gauge.set({ ...labelsOf(model), ...labels }, Date.now() / 1000);
    }
  }

  #namesOf(parent: string, stage: Stage): string {
    const adapters = [...(this.#open.get(parent) ?? [])];
    return adapters
      .filter(([, counts]) => counts[stage] > 0)
      .map(([name]) => name)
      .sort()
      .join(",");
  }

  #change({ id, parent }: ServedModel, stage: Stage, by: number): void {
    if (parent === undefined) return;
    const adapters = this.#open.get(parent) ?? new Map<string, Counts>();
    this.#open.set(parent, adapters);
    const counts = adapters.get(id) ?? { waiting: 0, running: 0 };
    counts[stage] += by;
    if (counts.waiting + counts.running > 0) adapters.set(id, counts);
    else adapters.delete(id);
  }
}
