import path from "node:path";
import { writeFileAtomically } from "../base/write-file.ts";
import { guidellmReport } from "../bench/dialects/guidellm-report.ts";
import { vllmConsoleBlock } from "../bench/dialects/vllm-console.ts";
import { type ExportedStage, vllmResult } from "../bench/dialects/vllm-result.ts";
import { stageFileName } from "../bench/sweep.ts";
import type { BenchRecord, BenchStage, RateStage, RequestRecord } from "../records/bench.ts";

/** A stage with its raw records. */
export interface KeptStage {
  readonly stage: BenchStage | RateStage;
  readonly requests: readonly RequestRecord[];
}

/** Writes a load test in the words of other tools: a vLLM result for each stage, a GuideLLM report of all. */
export function writeDialects(record: BenchRecord, kept: readonly KeptStage[], folder: string): void {
  const stages = exported(record, kept);
  for (const each of stages) {
    const name = `vllm_${stageFileName(each.stage)}.json`;
    writeFileAtomically(path.join(folder, name), `${JSON.stringify(vllmResult(each), null, 2)}\n`);
  }
  const report = `${JSON.stringify(guidellmReport(record, kept), null, 2)}\n`;
  writeFileAtomically(path.join(folder, "guidellm.json"), report);
}

/** vLLM's console blocks of all stages. */
export function vllmBlocks(record: BenchRecord, kept: readonly KeptStage[]): string {
  return exported(record, kept)
    .map((each) => vllmConsoleBlock(vllmResult(each)))
    .join("\n\n");
}

function exported(record: BenchRecord, kept: readonly KeptStage[]): ExportedStage[] {
  return kept.map(({ stage, requests }) => ({ record, stage, requests }));
}
