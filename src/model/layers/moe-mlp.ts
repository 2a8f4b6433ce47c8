import { invariant } from "../../base/invariant.ts";
import type { ExpertConfig } from "../../formats/model-config.ts";
import type { LinearWeight, MoeRouting, Ops, Tensor } from "../../kernels/ops.ts";
import type { WeightLoader } from "../weight-loader.ts";
import { GatedMlp, type GatedMlpConfig, type Mlp } from "./gated-mlp.ts";
import { inForm } from "./tensor-forms.ts";

export interface MoeMlpConfig extends Omit<GatedMlpConfig, "intermediateSize"> {
  readonly experts: ExpertConfig;
  /** Weights are the softmax over the chosen experts; otherwise over all. */
  readonly normalize: boolean;
}

/**
 * Sparse mixture of gated feed-forward blocks (Shazeer et al. 2017; Jiang et al. 2024, "Mixtral of Experts"). The
 * router runs in f32. Experts run in ascending order, each on the tokens that chose it, so that a token's sum has one
 * order whatever the batch.
 */
export class MoeMlp implements Mlp {
  readonly inputForm = "f32" as const;
  readonly #router: LinearWeight;
  readonly #experts: readonly GatedMlp[];
  readonly #ops: Ops;
  #routing: MoeRouting;

  /** @param prefix module that holds `gate` (the router) and `experts.N` */
  constructor(loader: WeightLoader, prefix: string, config: MoeMlpConfig) {
    const { hiddenSize, normalize, residual } = config;
    invariant(residual.norm === null && residual.scale === 1, "the sum of experts is added as it is");
    const { numExperts, numPerToken: topK, intermediateSize } = config.experts;
    const name = `${prefix}.gate`;
    this.#router = loader.linear({
      name,
      cols: hiddenSize,
      parts: [{ module: name, rows: numExperts }],
      inputForm: "f32",
    });
    this.#experts = Array.from(
      { length: numExperts },
      (_, expert) =>
        new GatedMlp(loader, `${prefix}.experts.${expert}`, { ...config, intermediateSize, isExpert: true }),
    );
    this.#ops = loader.ops;
    this.#routing = emptyRouting({ topK, normalize }, numExperts, 0);
  }

  addTo(residual: Tensor, x: Tensor): void {
    const ops = this.#ops;
    const logits = ops.linear(x, this.#router);
    const routing = this.#reserve(x.rows);
    ops.moeRoute(logits, routing);
    for (const [index, expert] of this.#experts.entries()) {
      const first = routing.starts[index]!;
      const count = routing.starts[index + 1]! - first;
      if (count === 0) continue;
      const own = ops.gatherRows(x, routing.rows, count, first);
      ops.addRows(residual, expert.apply(inForm(ops, own, expert.inputForm)), routing, count, first);
      ops.releaseAfter(logits);
    }
  }

  /** Arrays for `numTokens`; they grow to the largest step and stay. */
  #reserve(numTokens: number): MoeRouting {
    const { topK, rows } = this.#routing;
    if (rows.length < numTokens * topK) {
      this.#routing = emptyRouting(this.#routing, this.#experts.length, 2 * numTokens);
    }
    return this.#routing;
  }
}

function emptyRouting(
  { topK, normalize }: Pick<MoeRouting, "topK" | "normalize">,
  numExperts: number,
  numTokens: number,
): MoeRouting {
  return {
    topK,
    normalize,
    starts: new Int32Array(numExperts + 1),
    rows: new Int32Array(numTokens * topK),
    weights: new Float32Array(numTokens * topK),
  };
}
