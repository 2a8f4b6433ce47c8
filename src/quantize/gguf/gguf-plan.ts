import { MillraceError } from "../../base/errors.ts";
import { formatBytes } from "../../base/units.ts";
import type { Checkpoint } from "../../formats/checkpoint.ts";
import { createGguf, ggufTensorBytes } from "../../formats/gguf/writer.ts";
import { modelNameOf } from "../../formats/model-name.ts";
import { type BlockType, blockTraits } from "../../kernels/block-types.ts";
import { sortKeys } from "../companion-files.ts";
import { hashText } from "../file-hash.ts";
import { findHead, headSizes } from "../head.ts";
import type { RoundingScheme } from "../linear-scheme.ts";
import { methods } from "../methods.ts";
import type { ModelParts } from "../model-parts.ts";
import type { DenseTarget, FormatMemory, OutputFormat } from "../output-format.ts";
import { type QuantizationTarget, type QuantizePlan, type ResolvedPlan, weightFloats } from "../plan.ts";
import { RowRounder } from "../row-rounder.ts";
import type { LinearShape } from "../scheme.ts";
import { splitIgnored } from "../targets.ts";
import { BlockRowFormat } from "./block-format.ts";
import { GgufFile, type GgufMatrix } from "./gguf-file.ts";
import { type ChosenType, chooseType, type GgufSchemeName, ggufMixes } from "./type-rule.ts";
import { floatDtypes, type WrittenType } from "./written-types.ts";

export function isGgufScheme(scheme: string): scheme is GgufSchemeName {
  return Object.hasOwn(ggufMixes, scheme);
}

/** How the blocks of a type round, for methods that ask. */
interface BlockScheme extends RoundingScheme {
  readonly type: BlockType;
}

/** A plan whose weights go to one GGUF file. Throws `invalid_scheme`, `invalid_option`, `unsupported_format`. */
export function resolveGgufPlan(
  checkpoint: Checkpoint,
  plan: QuantizePlan & { readonly scheme: GgufSchemeName },
  parts: ModelParts,
): ResolvedPlan {
  refuseOptions(plan);
  const { scheme } = plan;
  const method = plan.method ?? "rtn";
  const types = new TypeChoice(checkpoint, plan, parts);
  const file = new GgufFile(checkpoint, {
    name: modelNameOf(checkpoint.path),
    fileType: () => ggufMixes[scheme].fileType,
    typeOf: (shape, tensor) => types.typeOf(shape, tensor),
    tokenizer: plan.tokenizer ?? null,
  });
  const { targets, dense } = splitByType([...parts.linears, ...parts.dense], file);
  const head = file.matrices.get(findHead(checkpoint, parts.dense).module)!;
  const { bits, groupSize, hasMinimums } = blockTraits[ggufMixes[scheme].base];
  return {
    scheme: { name: scheme, weightBits: bits, activations: "unspecified" },
    groupSize,
    symmetric: !hasMinimums,
    method,
    scaleRule: `blocks of ${describeTypes(plan)}: ${methods[method].describeBlocks}`,
    isSmoothed: plan.smooth ?? false,
    roundTo: weightFloats(plan.dtype),
    targets,
    dense,
    vectors: parts.vectors,
    output: ggufOutput(file, memoryOf(file, checkpoint.config.vocabSize), method !== "rtn"),
    head: headSizes(head, head.type.toLowerCase() === "bf16" ? "bf16" : head.type, bytesOf(head)),
    notes: [...file.notes, ...types.notes()],
  };
}

function describeTypes({ scheme, types }: QuantizePlan): string {
  if (types === undefined) return `llama.cpp's ${scheme}`;
  return `${Object.keys(types).length} matrices chosen one by one (${hashText(JSON.stringify(sortKeys(types))).slice(0, 16)})`;
}

function refuseOptions({ scheme, groupSize, symmetric, kvCache }: QuantizePlan): void {
  const refuse = (param: string, why: string): never => {
    throw new MillraceError(
      "invalid_scheme",
      `Scheme ${scheme} writes a GGUF file, ${why}. Leave ${param} out, or use a scheme of compressed-tensors such as w4a16.`,
      { param },
    );
  };
  if (groupSize !== null) refuse("--group-size", "whose block types have groups of their own size");
  if (kvCache !== undefined) refuse("--kv-cache", "which has no place for a wish on the KV cache");
  if (symmetric === false) refuse("--asymmetric", "whose block types say whether there are minimums");
}

/** The type of every matrix, and what is to be said of those that could not have the wanted one. */
class TypeChoice {
  readonly #plan: QuantizePlan & { readonly scheme: GgufSchemeName };
  readonly #config: Checkpoint["config"];
  readonly #ignored: ReadonlySet<string>;
  readonly #head: string;
  readonly #substitutes: (ChosenType & LinearShape)[] = [];

  constructor(
    checkpoint: Checkpoint,
    plan: QuantizePlan & { readonly scheme: GgufSchemeName },
    parts: ModelParts,
  ) {
    this.#plan = plan;
    this.#config = checkpoint.config;
    this.#ignored = new Set(
      splitIgnored(parts.linears, plan.ignore ?? []).ignored.map(({ module }) => module),
    );
    this.#head = findHead(checkpoint, parts.dense).module;
  }

  typeOf(shape: LinearShape, tensor: string): WrittenType {
    const { scheme, head, types, method = "rtn" } = this.#plan;
    if (this.#ignored.has(shape.module)) return "BF16";
    const own = types?.[shape.module];
    if (own !== undefined) return own;
    if (shape.module === this.#head && head === "bf16") return "BF16";
    if (shape.module === this.#head && head === "int8" && shape.cols % 32 === 0) return "Q8_0";
    const { numLayers, numHeads, numKvHeads, experts, tieWordEmbeddings } = this.#config;
    const chosen = chooseType(scheme, {
      tensor,
      cols: shape.cols,
      numLayers,
      headsPerKvHead: numHeads / numKvHeads,
      numExperts: experts?.numExperts ?? 0,
      isTied: tieWordEmbeddings,
      hasImatrix: methods[method].isCalibrated,
    });
    if (chosen.type !== chosen.wanted) this.#substitutes.push({ ...chosen, ...shape });
    return chosen.type;
  }

  notes(): string[] {
    const first = this.#substitutes[0];
    if (first === undefined) return [];
    const more = this.#substitutes.reduce(
      (sum, { rows, cols, wanted, type }) => sum + rows * cols * (bitsOf(type) - bitsOf(wanted)),
      0,
    );
    const count = this.#substitutes.length;
    return [
      `${count} matrices have rows that are no whole blocks of the wanted type, as ${first.module} with ${first.cols} columns: ${first.type} in place of ${first.wanted}, as llama.cpp does. They take ${formatBytes(more / 8)} more.`,
    ];
  }
}

function bitsOf(type: BlockType | "F16"): number {
  if (type === "F16") return 16;
  const { bytes, size } = blockTraits[type];
  return (8 * bytes) / size;
}

/** Matrices in blocks, and those that stay floats. */
function splitByType(
  shapes: readonly LinearShape[],
  file: GgufFile,
): { readonly targets: readonly QuantizationTarget[]; readonly dense: readonly DenseTarget[] } {
  const targets: QuantizationTarget<BlockScheme>[] = [];
  const dense: DenseTarget[] = [];
  for (const shape of shapes) {
    const { type } = file.matrices.get(shape.module)!;
    const dtype = floatDtypes[type];
    if (dtype !== undefined) dense.push({ ...shape, dtype });
    else targets.push({ ...shape, source: shape.module, scheme: blockScheme(type as BlockType), form: type });
  }
  return { targets, dense };
}

function blockScheme(type: BlockType): BlockScheme {
  const { bits, groupSize, hasMinimums } = blockTraits[type];
  return { type, bits, groupSize, symmetric: !hasMinimums, activations: "unspecified" };
}

/** What the header's vocabulary takes, of which the most is given back before rows are written; and packing of blocks. */
function memoryOf({ hasTokenizer }: GgufFile, vocabSize: number): FormatMemory {
  const entries = hasTokenizer ? vocabSize : 0;
  return { begun: 2600 * entries, writing: 620 * entries, running: 600 * entries + (21 << 20) };
}

function ggufOutput(file: GgufFile, memory: FormatMemory, isSearched: boolean): OutputFormat {
  const { fields, tensors, sizeBytes, rowUnit, constants } = file;
  return {
    format: "gguf",
    fileName: "model.gguf",
    sizeBytes,
    rowUnit,
    memory,
    openFile: (place, isResumed) => createGguf(place, fields, tensors, { isResumed }),
    encoderOf: (target, input, solver) => {
      const { module, cols } = target;
      const type = file.matrices.get(module)!.type as BlockType;
      const format = new BlockRowFormat(type, cols, isSearched, solver);
      const rounder = new RowRounder(format, input, solver);
      return {
        encode: (band) => {
          const { blocks, values } = rounder.round(band);
          return { pieces: [file.matrixPiece(module, blocks, band.firstRow)], values };
        },
        outcome: () => rounder.outcome(),
      };
    },
    densePiece: ({ module }, data, firstRow) => file.matrixPiece(module, data, firstRow),
    vectorPiece: (name, values) => file.vectorPiece(name, values),
    constants,
    readCompanions: () => () =>
      file.hasTokenizer ? null : "The model has no tokenizer, so none was written.",
  };
}

function bytesOf({ tensor, type, rows, cols }: GgufMatrix): number {
  return ggufTensorBytes({ name: tensor, type, shape: [rows, cols] });
}
