import type { EngineParts } from "../engine-parts.ts";
import type { KvManager } from "../kv-manager.ts";
import type { Sampler } from "../sampler.ts";
import type { Scheduler } from "../scheduler.ts";
import type { SequenceTable } from "../sequence-table.ts";
import { AdaptiveDepths } from "./adaptive-depths.ts";
import { fixedDepths } from "./depth-policy.ts";
import { DraftCoverage } from "./draft-coverage.ts";
import { DraftModelProposer } from "./draft-model-proposer.ts";
import type { DraftProposer } from "./draft-proposer.ts";
import { NgramProposer } from "./ngram-proposer.ts";
import { Speculator } from "./speculator.ts";

interface SpeculatorContext {
  readonly table: SequenceTable;
  readonly kv: KvManager;
  readonly sampler: Sampler;
  readonly scheduler: Pick<Scheduler, "numTokensDue" | "numStartable">;
}

/** The speculator that the engine's parts ask for, or null. */
export function createSpeculator(parts: EngineParts, context: SpeculatorContext): Speculator | null {
  if (parts.speculation === null) return null;
  const { table, kv, scheduler } = context;
  const { maxNumSeqs, maxNumBatchedTokens } = parts.info;
  const { numTokens: maxDrafts, draft, isAdaptive } = parts.speculation;
  const proposer: DraftProposer =
    draft === null
      ? new NgramProposer(table, maxDrafts)
      : new DraftModelProposer({
          ...context,
          ops: parts.ops,
          draft,
          coverage: new DraftCoverage(table, kv.numBlockUses),
          maxDrafts,
          maxNumSeqs,
          maxNumBatchedTokens,
          maxModelLen: parts.info.maxModelLen,
        });
  const policy = isAdaptive ? new AdaptiveDepths({ table, proposer, maxDrafts }) : fixedDepths;
  return new Speculator({
    table,
    kv,
    proposer,
    policy,
    maxDrafts,
    maxNumSeqs,
    maxNumBatchedTokens,
    scheduler,
  });
}
