import { existsSync, readdirSync, rmSync } from "node:fs";
import path from "node:path";
import { jsonPieces } from "../../base/json-pieces.ts";
import { writePiecesAtomically } from "../../base/write-file.ts";
import type { BenchRecord, BenchStage, RateStage, RequestRecord } from "../../records/bench.ts";
import { stageFileName } from "../sweep.ts";
import { guidellmTables } from "./guidellm-console.ts";
import { guidellmReport } from "./guidellm-report.ts";
import { vllmConsoleBlock } from "./vllm-console.ts";
import { type ExportedStage, vllmResult } from "./vllm-result.ts";

/** A stage with its raw records. */
export interface KeptStage {
  readonly stage: BenchStage | RateStage;
  readonly requests: readonly RequestRecord[];
}

/** Tools whose way of printing a load test we have. */
export const consoleDialects = ["vllm", "guidellm"] as const;
export type ConsoleDialect = (typeof consoleDialects)[number];

/** Files of a load test: its record, and of each stage those that `stageFileName` names. */
const loadFile =
  /^(bench\.json|guidellm\.json|(requests_[cnrt]\d[\d.e+-]*\.jsonl)|(vllm_[cnrt]\d[\d.e+-]*\.json))$/;

/** Removes what an earlier load test left in a folder, so that it does not stand beside this one's; no other file. */
export function removeEarlierLoad(folder: string): void {
  if (!existsSync(folder)) return;
  for (const name of readdirSync(folder))
    if (loadFile.test(name)) rmSync(path.join(folder, name), { force: true });
}

/** Writes a load test in the words of other tools: a vLLM result for each stage, a GuideLLM report of all. */
export function writeDialects(record: BenchRecord, kept: readonly KeptStage[], folder: string): void {
  const stages = exported(record, kept);
  for (const each of stages) {
    const name = `vllm_${stageFileName(each.stage)}.json`;
    writePiecesAtomically(path.join(folder, name), jsonFileOf(vllmResult(each)));
  }
  writePiecesAtomically(path.join(folder, "guidellm.json"), jsonFileOf(guidellmReport(record, kept)));
}

/** An export has a number for each token, and so may be longer than a string. */
function* jsonFileOf(value: object): Generator<string> {
  yield* jsonPieces(value);
  yield "\n";
}

/** What a tool would print: vLLM a block for each stage, GuideLLM tables with a row for each. */
export function consoleText(
  dialect: ConsoleDialect,
  record: BenchRecord,
  kept: readonly KeptStage[],
): string {
  if (dialect === "guidellm") return guidellmTables(guidellmReport(record, kept));
  return exported(record, kept)
    .map((each) => vllmConsoleBlock(vllmResult(each)))
    .join("\n\n");
}

function exported(record: BenchRecord, kept: readonly KeptStage[]): ExportedStage[] {
  return kept.map(({ stage, requests }) => ({ record, stage, requests }));
}
