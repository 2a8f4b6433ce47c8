import { type Ceilings, secondsAtCeilings } from "../../kernels/ceilings.ts";
import type { KvDtype, Ops } from "../../kernels/ops.ts";
import { type Operation, profileOps } from "../../kernels/profiled-ops.ts";
import type { CausalModel } from "../../model/causal-model.ts";
import { defaultBlockSize as blockSize } from "../engine-plan.ts";
import { runStep, writePages } from "../step/run-step.ts";
import { batchOf, type StepShape } from "../step/step-batch.ts";

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

export interface ProfiledShape extends StepShape {
  readonly label: string;
}

export interface StepProfile extends ProfiledShape {
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
  readonly shapes: readonly ProfiledShape[];
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
    const batch = batchOf(shape, model.vocabSize, blockSize);
    let best: { seconds: number; operations: Operation[] } | undefined;
    for (let repeat = 0; repeat < parts.numRepeats; repeat += 1) {
      operations.length = 0;
      const { layers, head } = runStep(ops, model, cache, batch);
      const seconds = layers + head;
      if (best === undefined || seconds < best.seconds) best = { seconds, operations: [...operations] };
    }
    return { ...shape, ...summarize(best!.seconds, best!.operations, parts.ceilings) };
  });
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
