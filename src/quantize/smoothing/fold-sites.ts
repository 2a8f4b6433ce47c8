import type { Checkpoint } from "../../formats/checkpoint.ts";
import { groupByInput } from "../calibration/capture-inputs.ts";
import type { QuantizationTarget } from "../plan.ts";

/** Linears that share an input, and what makes it: factors can be moved from one to the other. */
export interface FoldSite {
  /** As `inputNameOf` says. */
  readonly input: string;
  readonly cols: number;
  /** All that read the input. */
  readonly consumers: readonly QuantizationTarget[];
  readonly producer: NormProducer | RowsProducer;
}

/** A norm that computes (offset + w) · x̂. */
interface NormProducer {
  readonly kind: "norm";
  /** Full name of its weight. */
  readonly name: string;
  readonly offset: number;
}

/** A linear whose rows are the columns of the input, one for one. */
interface RowsProducer {
  readonly kind: "rows";
  readonly module: string;
}

/**
 * Finds where factors can be folded: the norms before q, k, v and before gate, up, and the rows of up before down, which
 * its output is multiplied with. Mixtures of experts keep theirs: a router reads the same norm.
 */
export function findFoldSites(
  checkpoint: Checkpoint,
  targets: readonly QuantizationTarget[],
): readonly FoldSite[] {
  const offset = normOffset(checkpoint);
  return [...groupByInput(targets)].flatMap(([input, consumers]): FoldSite[] => {
    const [, layer, part] =
      /^(model\.layers\.\d+)\.(self_attn\.qkv_proj|mlp\.gate_up_proj|mlp\.down_proj)$/.exec(input) ?? [];
    const { cols } = consumers[0]!;
    if (layer === undefined) return [];
    if (part === "mlp.down_proj") {
      const module = `${layer}.mlp.up_proj`;
      const canFold = targets.some((target) => target.module === module) && !checkpoint.has(`${module}.bias`);
      return canFold ? [{ input, cols, consumers, producer: { kind: "rows", module } }] : [];
    }
    const norm = normBefore(checkpoint, layer, part!);
    // A linear that stays dense is no target: then not all readers are known here.
    const isWhole =
      consumers.length === (part === "mlp.gate_up_proj" ? 2 : 3) || consumers[0]!.module === input;
    return norm !== null && isWhole
      ? [{ input, cols, consumers, producer: { kind: "norm", name: norm, offset } }]
      : [];
  });
}

/** What is added to the weights of norms: Gemma's store w of 1 + w. */
export function normOffset({ config: { architecture } }: Checkpoint): number {
  return architecture.startsWith("Gemma") ? 1 : 0;
}

/** The norm before `self_attn.qkv_proj` or another part of a layer; null for none. */
export function normBefore(checkpoint: Checkpoint, layer: string, part: string): string | null {
  const first = `${layer}.input_layernorm.weight`;
  // Families that norm only what comes out of a block have none.
  if (!checkpoint.has(first)) return null;
  if (part === "self_attn.qkv_proj") return first;
  const both = `${layer}.pre_feedforward_layernorm.weight`;
  return checkpoint.has(both) ? both : `${layer}.post_attention_layernorm.weight`;
}
