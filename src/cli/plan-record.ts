import type { ModelMemory } from "../engine/plan/model-memory.ts";
import { type ModelSpeed, type PrecisionSpeed, withoutSpeeds } from "../engine/plan/model-speed.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import type { PlannedMachine } from "./plan-table.ts";

/** What a record is made of. */
export interface PlanParts {
  readonly checkpoint: Checkpoint;
  readonly machine: PlannedMachine | null;
  readonly memory: ModelMemory;
  /** Null where no step was to be timed: then `noSpeed` says why. */
  readonly speed: ModelSpeed | null;
  readonly noSpeed: string | null;
  readonly advice: readonly string[];
}

/** The plan for other programs: sizes in bytes, speeds in tokens per second, times in milliseconds. */
export function planRecord({ checkpoint, machine, memory, speed, noSpeed, advice }: PlanParts): object {
  const { path, format, weightFormat, config, sizeBytes } = checkpoint;
  const { architecture } = config;
  return {
    kind: "plan",
    version: 1,
    model: { path, format, weightFormat, architecture, sizeBytes },
    machine,
    memory: memoryRecord(memory),
    refusal: memory.fault?.message ?? null,
    freeBytes: memory.freeBytes,
    budgetBytes: memory.budgetBytes,
    processBytes: memory.processBytes,
    kvDtype: memory.kvDtype,
    kvBytesPerToken: memory.kvBytesPerToken,
    kvNeeds: memory.kvNeeds.map((need) => ({ ...need, fits: need.limit === null })),
    linears: memory.linears,
    notes: memory.planned.notes,
    loads: speed?.loads ?? [],
    speedRefusal: noSpeed ?? speed?.refusal ?? null,
    paceDrift: speed?.paceDrift ?? null,
    waitingShare: speed?.waitingShare ?? null,
    doubts: speed?.doubts ?? [],
    precisions: (speed?.precisions ?? withoutSpeeds(memory.precisions)).map(precisionRecord),
    advice,
  };
}

function precisionRecord(precision: PrecisionSpeed): object {
  const { name, isNow, isFlagOnly, command, weightBytes, loads } = precision;
  return { name, isNow, isFlagOnly, command, weightBytes, loads };
}

function memoryRecord({ engine }: ModelMemory): object | null {
  if (engine === null) return null;
  const { weightBytes, rotationBytes, kv, draft, activationBytes, totalBytes } = engine;
  return {
    weightBytes: weightBytes - rotationBytes,
    rotationBytes,
    kvCacheBytes: kv.sizeBytes,
    draftBytes: (draft?.weightBytes ?? 0) + kv.draftBytes,
    activationBytes,
    totalBytes,
    maxModelLen: kv.maxModelLen,
    numKvBlocks: kv.numBlocks,
  };
}
