import type { EngineParts } from "../engine-parts.ts";
import type { KvManager } from "../kv-manager.ts";
import type { Sampler } from "../sampler.ts";
import type { SequenceTable } from "../sequence-table.ts";
import type { WaitEstimate } from "../wait-estimate.ts";
import { Acceptance } from "./acceptance.ts";
import { DraftModelProposer } from "./draft-model-proposer.ts";
import { NgramProposer } from "./ngram-proposer.ts";
import { Speculator } from "./speculator.ts";

interface SpeculatorContext {
  readonly table: SequenceTable;
  readonly kv: KvManager;
  readonly sampler: Sampler;
  readonly estimate: WaitEstimate;
}

/** The speculator that the engine's parts ask for, or null. */
export function createSpeculator(parts: EngineParts, context: SpeculatorContext): Speculator | null {
  const { speculation, ops, info } = parts;
  if (speculation === null) return null;
  const { table, sampler } = context;
  const { maxNumSeqs, maxNumBatchedTokens, maxModelLen } = info;
  const { numTokens, draft } = speculation;
  const proposer =
    draft === null
      ? new NgramProposer(table, numTokens)
      : new DraftModelProposer(
          { ops, ...draft, table, sampler, maxNumSeqs, maxNumBatchedTokens, maxModelLen },
          numTokens,
        );
  const acceptance = new Acceptance(table.capacity, numTokens);
  return new Speculator({ ...context, proposer, acceptance, maxNumSeqs });
}
