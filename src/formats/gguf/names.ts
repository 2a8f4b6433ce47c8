import type { LayerModules } from "./families.ts";

const modelModules: Readonly<Record<string, string>> = {
  "model.embed_tokens": "token_embd",
  "model.norm": "output_norm",
  lm_head: "output",
};

/** Where a file keeps a tensor; `expert` is its place in a stack. */
export interface GgufPlace {
  readonly tensor: string;
  readonly expert?: number;
}

/** Hugging Face names of one family's tensors and their names in a file. A ".weight" or ".bias" ending stays. */
export class GgufNames {
  readonly #modules: LayerModules;
  readonly #reverse: ReadonlyMap<string, string>;

  constructor(modules: LayerModules) {
    this.#modules = modules;
    this.#reverse = new Map(
      Object.entries({ ...modules, ...modelModules }).map(([name, stored]) => [stored, name]),
    );
  }

  /** "model.layers.3.self_attn.q_proj" → "blk.3.attn_q"; undefined where the family has no such module. */
  find(name: string): GgufPlace | undefined {
    const [, module = "", ending = ""] = /^(.*?)(\.weight|\.bias)?$/.exec(name) ?? [];
    const layer = /^model\.layers\.(\d+)\.(.+)$/.exec(module);
    if (layer === null) {
      const tensor = modelModules[module];
      return tensor === undefined ? undefined : { tensor: tensor + ending };
    }
    const expert = /\.experts\.(\d+)\./.exec(layer[2]!)?.[1];
    const inLayer = this.#modules[layer[2]!.replace(/\.experts\.\d+\./, ".experts.*.")];
    if (inLayer === undefined) return undefined;
    const tensor = `blk.${layer[1]}.${inLayer}${ending}`;
    return expert === undefined ? { tensor } : { tensor, expert: Number(expert) };
  }

  /** "blk.3.attn_q.weight" → its name; of a stack of `numExperts` the name of each. Empty for a tensor of no module. */
  namesOf(tensor: string, numExperts: number): string[] {
    const [, layer, stored = "", ending = ""] = /^(?:blk\.(\d+)\.)?(.+)(\.weight|\.bias)$/.exec(tensor) ?? [];
    const name = this.#reverse.get(stored);
    if (name === undefined) return [];
    const full = `${layer === undefined ? "" : `model.layers.${layer}.`}${name}${ending}`;
    if (!full.includes("*")) return [full];
    return Array.from({ length: numExperts }, (_, expert) => full.replace("*", String(expert)));
  }
}
