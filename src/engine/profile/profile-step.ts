import { type Ceilings, secondsAtCeilings } from "../../kernels/ceilings.ts";
import type { KvCache, KvDtype, Ops, RaggedBatch } from "../../kernels/ops.ts";
import { type Operation, profileOps } from "../../kernels/profiled-ops.ts";
import type { SamplingOutput } from "../../kernels/sampling.ts";
import type { CausalModel } from "../../model/causal-model.ts";
import { SamplingColumns } from "../sampling-columns.ts";
import { batchOf, blockSize, rowsThatDraw, type StepShape } from "./step-batch.ts";

/** All operations of one kind in a step. Times are in seconds, of the fastest of the repeated steps. */
export interface KindProfile {
  readonly kind: string;
  readonly count: number;
  readonly seconds: number;
  readonly bytes: number;
  readonly operations: number;
  /** The least time that this machine's ceilings allow; 0 where the kind reads and multiplies next to nothing. */
  readonly rooflineSeconds: number;
}

export interface StepProfile extends StepShape {
  readonly seconds: number;
  readonly rooflineSeconds: number;
  readonly numOperations: number;
  /** By falling time; the last is the time between operations. */
  readonly kinds: readonly KindProfile[];
}

export interface ProfileParts {
  /** Makes the model over the `Ops` that it is given, and says how K and V are stored beside it. */
  readonly load: (ops: Ops) => { readonly model: CausalModel; readonly kvDtype: KvDtype };
  readonly ops: Ops;
  readonly ceilings: Ceilings;
  readonly shapes: readonly StepShape[];
  /** Steps of each shape; the fastest counts, as what disturbs a step only makes it slower. */
  readonly numRepeats: number;
}

/** Runs steps of each shape, from tokens to drawn tokens, and says where their time goes. */
export function profileSteps(parts: ProfileParts): StepProfile[] {
  const { shapes } = parts;
  const operations: Operation[] = [];
  const ops = profileOps(parts.ops, (operation) => operations.push(operation));
  const { model, kvDtype } = parts.load(ops);
  const blocksOf = (shape: StepShape): number => Math.ceil(shape.contextLength / blockSize);
  const numBlocks = Math.max(...shapes.map((shape) => shape.numSequences * blocksOf(shape)));
  const cache = ops.createKvCache({ ...model.kvShape, numBlocks, blockSize, dtype: kvDtype });
  writePages(ops, model, cache);
  return shapes.map((shape) => {
    const batch = batchOf(shape, model.vocabSize);
    let best: { seconds: number; operations: Operation[] } | undefined;
    for (let repeat = 0; repeat < parts.numRepeats; repeat += 1) {
      operations.length = 0;
      const seconds = runStep(ops, model, cache, batch);
      if (best === undefined || seconds < best.seconds) best = { seconds, operations: [...operations] };
    }
    return { ...shape, ...summarize(best!.seconds, best!.operations, parts.ceilings) };
  });
}

/** Writes to every block, so that attention reads memory of its own and not the system's one page of zeros. */
function writePages(ops: Ops, model: CausalModel, cache: KvCache): void {
  for (let block = 0; block < cache.numBlocks; block += 1) {
    const shape = { label: "", numSequences: 1, numTokens: blockSize, contextLength: blockSize };
    const batch = batchOf(shape, model.vocabSize);
    batch.blockTables[0] = block;
    for (let i = 0; i < blockSize; i += 1) batch.slots[i] = block * blockSize + i;
    if (block === 0) {
      ops.beginStep(batch);
      model.forward(cache);
      ops.endStep();
      continue;
    }
    const one = Int32Array.of(0);
    const moves = { count: 1, kinds: Uint8Array.of(0), sources: one, targets: Int32Array.of(block) };
    ops.moveKv(cache, null, { ...moves, numTokens: Int32Array.of(blockSize) });
  }
}

/** One whole step with a greedy draw for each sequence; returns its seconds. */
function runStep(ops: Ops, model: CausalModel, cache: KvCache, batch: RaggedBatch): number {
  const { numSeqs } = batch;
  const rows = rowsThatDraw(batch);
  const columns = new SamplingColumns(numSeqs);
  columns.begin(numSeqs);
  columns.batch.topP.fill(1);
  columns.batch.maskRows.fill(-1);
  for (let row = 0; row < numSeqs; row += 1) columns.batch.penalties[3 * row] = 1;
  const out = emptyOutput(numSeqs);
  const start = performance.now();
  ops.beginStep(batch);
  ops.sample(model.logits(model.finalNorm(model.forward(cache), rows, numSeqs)), columns.batch, out);
  ops.endStep();
  return (performance.now() - start) / 1000;
}

function emptyOutput(numRows: number): SamplingOutput {
  return {
    tokenIds: new Int32Array(numRows),
    logprobs: new Float32Array(numRows),
    ranks: new Int32Array(numRows),
    maxLogprobs: 0,
    topIds: new Int32Array(0),
    topLogprobs: new Float32Array(0),
  };
}

function summarize(
  seconds: number,
  operations: readonly Operation[],
  ceilings: Ceilings,
): Pick<StepProfile, "seconds" | "rooflineSeconds" | "numOperations" | "kinds"> {
  const byKind = new Map<string, KindProfile>();
  for (const operation of operations) {
    const before = byKind.get(operation.kind);
    byKind.set(operation.kind, {
      kind: operation.kind,
      count: (before?.count ?? 0) + 1,
      seconds: (before?.seconds ?? 0) + operation.seconds,
      bytes: (before?.bytes ?? 0) + operation.bytes,
      operations: (before?.operations ?? 0) + operation.operations,
      rooflineSeconds: (before?.rooflineSeconds ?? 0) + secondsAtCeilings(operation, ceilings),
    });
  }
  const kinds = [...byKind.values()].toSorted((a, b) => b.seconds - a.seconds);
  const within = kinds.reduce((sum, kind) => sum + kind.seconds, 0);
  const between = { count: 0, bytes: 0, operations: 0, rooflineSeconds: 0 };
  return {
    seconds,
    rooflineSeconds: kinds.reduce((sum, kind) => sum + kind.rooflineSeconds, 0),
    numOperations: operations.length,
    kinds: [...kinds, { kind: "between operations", ...between, seconds: Math.max(0, seconds - within) }],
  };
}
