import type { FloatDtype } from "../../base/weights.ts";
import type { Checkpoint } from "../../formats/checkpoint.ts";
import type { KvCache, Ops } from "../../kernels/ops.ts";
import type { CausalModel } from "../../model/causal-model.ts";
import { oneSequence } from "../../model/forward-once.ts";
import { loadModel } from "../../model/load-model.ts";
import { captureInputs, type InputListener } from "./capture-inputs.ts";

const dtypes = { f32: "float32", bf16: "bfloat16", f16: "float16" } as const;
/** Tokens of a block of the KV cache. */
const blockSize = 32;

export interface FloatModelParts {
  readonly ops: Ops;
  readonly checkpoint: Checkpoint;
  /** Type that weights are rounded to first, or null. */
  readonly roundTo: FloatDtype | null;
  /** Tokens of the longest sequence. */
  readonly maxTokens: number;
}

/** The model before it is quantised, in f32 activations, with a cache for one sequence. It lives as long as its `ops`. */
export class FloatModel {
  /** Hears what goes into each linear. */
  onInput: InputListener = () => {};
  readonly #ops: Ops;
  readonly #model: CausalModel;
  readonly #cache: KvCache;
  readonly #numBlocks: number;

  /** Throws what `loadModel` throws. */
  constructor({ ops, checkpoint, roundTo, maxTokens }: FloatModelParts) {
    const observed = captureInputs(ops, (name, values, rows) => this.onInput(name, values, rows));
    const dtype = roundTo === null ? "auto" : dtypes[roundTo];
    const { model } = loadModel(observed, checkpoint, { dtype, activations: "f32", maxModelLen: maxTokens });
    this.#ops = ops;
    this.#model = model;
    this.#numBlocks = Math.ceil(maxTokens / blockSize);
    this.#cache = ops.createKvCache({
      ...model.kvShape,
      numBlocks: this.#numBlocks,
      blockSize,
      dtype: "f32",
    });
  }

  run(sequence: Int32Array): void {
    this.#ops.beginStep(oneSequence(sequence, 0, sequence.length, this.#numBlocks));
    try {
      this.#model.forward(this.#cache);
    } finally {
      this.#ops.endStep();
    }
  }
}
