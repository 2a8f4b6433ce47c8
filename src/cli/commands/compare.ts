import path from "node:path";
import type { Command } from "commander";
import { z } from "zod";
import { MillraceError } from "../../base/errors.ts";
import { type Component, field } from "../../config/component.ts";
import { real, textList } from "../../config/value-schemas.ts";
import { composeComparison, type Subject } from "../../flow/compare/compose-comparison.ts";
import { comparisonFile, readComparison } from "../../flow/compare/read-comparison.ts";
import { readRun } from "../../flow/compare/read-run.ts";
import { writeComparison } from "../../flow/write-comparison.ts";
import type { ComparisonRecord } from "../../records/comparison.ts";
import { parseSlo } from "../../records/slo.ts";
import { renderCsv } from "../../report/csv.ts";
import { renderMarkdown } from "../../report/markdown.ts";
import { refuseIdleFlags } from "../contradicting-flags.ts";
import { type CommandHelp, createCommand } from "../create-command.ts";
import { addSettings, readSettings } from "../settings.ts";
import { printLine } from "../terminal.ts";

const own = {
  names: field(
    "--names <list>",
    textList.optional(),
    "what to call the runs, separated by commas, in their order",
  ),
  slo: field(
    "--slo <bounds>",
    z.string().optional(),
    "bounds that a load has to keep, such as ttft_p95<=200ms,tpot_p90<=50ms",
  ),
  pricePerHour: field(
    "--price-per-hour <n>",
    real(0, 1e9).optional(),
    "what an hour of a machine costs, in any currency, for the cost of tokens",
  ),
  out: field(
    "--out <folder>",
    z.string().optional(),
    "write comparison.md, .json, .csv, .html and the figures here",
  ),
  json: field("--json", z.boolean().default(false), "print JSON"),
  csv: field("--csv", z.boolean().default(false), "print every level of every run as CSV"),
} satisfies Component;

const help: CommandHelp = {
  summary: "Set runs of any tools beside each other",
  details: `
Takes folders of \`millrace flow\`, \`millrace bench --out\`, \`millrace evaluate --out\` and lm-eval, GuideLLM's JSON report,
and results of \`vllm bench serve\` or folders of them. The first is what the others are compared with. Loads are compared
at equal concurrency and at equal rate, evaluations document by document; what differs in their settings is listed.
With the folder of one flow alone, its reports are written again from its record.`,
  examples: [
    "millrace compare out/model",
    "millrace compare scores-base scores-w4 --out changes",
    "millrace compare base.json int8.json --slo ttft_p95<=200ms --out comparison",
    "millrace compare load-before load-after vllm-results --names before,after,vllm",
  ],
};

export function compareCommand(): Command {
  const command = createCommand("compare", help).argument(
    "<runs...>",
    "what to compare; the first is the base",
  );
  return addSettings(command, own).action(runCompare);
}

function runCompare(places: readonly string[], _options: unknown, command: Command): void {
  const { names, slo, pricePerHour, out, json, csv } = readSettings(command, own);
  const isFlow = places.length === 1;
  if (isFlow) {
    const { names: called, slo: bounds, pricePerHour: price } = own;
    const why = "the record of a flow has its own. Give two runs or more, or leave it out.";
    refuseIdleFlags(command, { called, bounds, price }, why);
  }
  if (csv) refuseIdleFlags(command, { json: own.json }, "--csv prints CSV. Leave out one of the two.");
  const flow = isFlow ? flowFolder(places[0]!) : undefined;
  const record =
    flow === undefined
      ? compareRuns(places, { names, slo, pricePerHour })
      : readComparison(flow, "Give the folder of a finished flow, or two runs or more.");
  const folder = out ?? flow;
  if (folder !== undefined) writeComparison(path.resolve(folder), record);
  if (csv) process.stdout.write(renderCsv(record));
  else printLine(json ? JSON.stringify(record, null, 2) : renderMarkdown(record));
}

/** A flow's record by itself stands for its folder. */
function flowFolder(place: string): string {
  return path.basename(place) === comparisonFile ? path.dirname(place) : place;
}

interface CompareOptions {
  readonly names: readonly string[] | undefined;
  readonly slo: string | undefined;
  readonly pricePerHour: number | undefined;
}

function compareRuns(
  places: readonly string[],
  { names, slo, pricePerHour }: CompareOptions,
): ComparisonRecord {
  const runs = places.map(readRun);
  const subjects = withNames(
    runs.flatMap((run) => run.subjects),
    names,
  );
  return composeComparison(subjects, {
    title: subjects.map(({ variant }) => variant.name).join(" against "),
    slo: slo === undefined ? [] : parseSlo(slo),
    pricePerHour: pricePerHour ?? null,
    notes: runs.flatMap(({ notes }) => notes),
    aim: null,
  });
}

/** Every subject by a name that no other has. */
function withNames(subjects: readonly Subject[], names: readonly string[] | undefined): Subject[] {
  if (names !== undefined && names.length !== subjects.length) {
    throw new MillraceError(
      "invalid_option",
      `--names has ${names.length}, and there are ${subjects.length} to compare (${subjects.map(({ variant }) => variant.name).join(", ")}). Give one for each.`,
      { param: "--names" },
    );
  }
  const taken = new Map<string, number>();
  return subjects.map((subject, index) => {
    const wanted = names?.[index] ?? subject.variant.name;
    const count = (taken.get(wanted) ?? 0) + 1;
    taken.set(wanted, count);
    const name = count === 1 ? wanted : `${wanted} (${count})`;
    return {
      ...subject,
      variant: { ...subject.variant, name },
      measurements: subject.measurements.map((entry) => ({ ...entry, variant: name })),
    };
  });
}
