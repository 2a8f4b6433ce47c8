import { type BlockType, blockTraits } from "../../kernels/block-types.ts";

/** A file type of llama.cpp: its number (llama_ftype) and the type of most matrices. */
interface GgufMix {
  readonly fileType: number;
  readonly base: BlockType;
}

/** By scheme, as llama-quantize calls them. */
export const ggufMixes = {
  q8_0: { fileType: 7, base: "Q8_0" },
  q6_k: { fileType: 18, base: "Q6_K" },
  q5_k_m: { fileType: 17, base: "Q5_K" },
  q5_k_s: { fileType: 16, base: "Q5_K" },
  q5_1: { fileType: 9, base: "Q5_1" },
  q5_0: { fileType: 8, base: "Q5_0" },
  q4_k_m: { fileType: 15, base: "Q4_K" },
  q4_k_s: { fileType: 14, base: "Q4_K" },
  iq4_nl: { fileType: 25, base: "IQ4_NL" },
  q4_1: { fileType: 3, base: "Q4_1" },
  q4_0: { fileType: 2, base: "Q4_0" },
} as const satisfies Readonly<Record<string, GgufMix>>;

export type GgufSchemeName = keyof typeof ggufMixes;

export const ggufSchemeNames: readonly GgufSchemeName[] = Object.keys(ggufMixes) as GgufSchemeName[];

/** What the type of a matrix depends on. */
export interface MatrixFacts {
  /** "blk.3.attn_v.weight" */
  readonly tensor: string;
  readonly cols: number;
  readonly numLayers: number;
  /** Heads of queries that share one of keys and values. */
  readonly headsPerKvHead: number;
  /** 0 without experts. */
  readonly numExperts: number;
  readonly isTied: boolean;
  /** Whether columns are weighed by what a text sends into them. Estimates do not count: the types are those without. */
  readonly hasImatrix: boolean;
}

/** The wanted type of a matrix, and what it becomes where its rows are no whole blocks of that. */
export interface ChosenType {
  readonly wanted: BlockType;
  readonly type: BlockType | "F16";
}

/** llama.cpp's rule for its mixes (llama_tensor_get_type_impl). */
export function chooseType(scheme: GgufSchemeName, facts: MatrixFacts): ChosenType {
  const wanted = wantedType(scheme, facts);
  return { wanted, type: fittingType(wanted, facts.cols) };
}

function wantedType(scheme: GgufSchemeName, facts: MatrixFacts): BlockType {
  const { tensor, cols, numLayers, headsPerKvHead, numExperts, isTied, hasImatrix } = facts;
  const { base } = ggufMixes[scheme];
  const [, layerText, name = ""] = /^blk\.(\d+)\.(.+)\.weight$/.exec(tensor) ?? [];
  if (layerText === undefined) return isTied || tensor === "output.weight" ? headType(base, cols) : base;
  const layer = Number(layerText);
  const isMedium = scheme === "q4_k_m" || scheme === "q5_k_m";
  const isFirstEighth = layer < Math.floor(numLayers / 8);
  const getsMoreBits = isMedium && deservesMoreBits(layer, numLayers);
  if (name === "attn_v" || name === "attn_qkv") {
    if (numExperts === 8) return "Q8_0";
    if (getsMoreBits) return "Q6_K";
    if (scheme === "iq4_nl" && headsPerKvHead >= 4) return "Q5_K";
    return scheme === "q4_k_s" && layer < 4 ? "Q5_K" : base;
  }
  if (name === "attn_k" && numExperts === 8) return "Q8_0";
  if (name === "attn_output" && numExperts === 8 && ["Q4_K", "IQ4_NL"].includes(base)) return "Q5_K";
  if (name === "ffn_down" || name === "ffn_down_exps") {
    if (getsMoreBits) return "Q6_K";
    if (isFirstEighth && scheme === "q4_k_s") return "Q5_K";
    if (isFirstEighth && !hasImatrix && scheme === "iq4_nl") return "Q5_K";
    if (isFirstEighth && hasImatrix && scheme === "q4_0") return "Q4_1";
    if (isFirstEighth && hasImatrix && scheme === "q5_0") return "Q5_1";
  }
  return base;
}

/** The head, and an embedding that is one. */
function headType(base: BlockType, cols: number): BlockType {
  if (base === "Q8_0" || cols % blockTraits[base].size !== 0) return "Q8_0";
  return "Q6_K";
}

/** First and last eighth of the layers, and each third one between (llama.cpp, use_more_bits). */
function deservesMoreBits(layer: number, numLayers: number): boolean {
  const eighth = Math.floor(numLayers / 8);
  return layer < eighth || layer >= Math.floor((7 * numLayers) / 8) || (layer - eighth) % 3 === 2;
}

const smallerBlocks: Readonly<Partial<Record<BlockType, BlockType>>> = {
  Q4_K: "Q5_0",
  Q5_K: "Q5_1",
  Q6_K: "Q8_0",
};

/** The type itself, one of more bits in blocks of 32, or F16 (llama.cpp, tensor_type_fallback). */
function fittingType(wanted: BlockType, cols: number): BlockType | "F16" {
  const type = cols % blockTraits[wanted].size === 0 ? wanted : (smallerBlocks[wanted] ?? wanted);
  return cols % blockTraits[type].size === 0 ? type : "F16";
}
