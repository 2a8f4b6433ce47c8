import path from "node:path";
import type {
  ComparisonRecord,
  Measurement,
  ServingFacts,
  ServingRecord,
  Variant,
} from "../records/comparison.ts";
import type { EvaluationRecord } from "../records/evaluation.ts";
import type { Origin } from "../records/origin.ts";
import { brokenRounds } from "./broken-rounds.ts";
import { type BudgetEvidence, describeSearch } from "./budget/describe-search.ts";
import { composeComparison, type Subject } from "./compare/compose-comparison.ts";
import { readBench } from "./compare/read-bench.ts";
import type { KeptEvaluation } from "./evaluate-side.ts";
import { addressOf } from "./fingerprint.ts";
import type { FlowPlan } from "./flow-plan.ts";
import type { MadeModel } from "./make-models.ts";

export interface MeasuredModel extends Omit<MadeModel, "weights" | "sizeBytes"> {
  /** Null where no tasks were asked for, and for what a server that is not ours answers with. */
  readonly evaluation: KeptEvaluation | null;
  /** Null where it is not known what a server has. */
  readonly weights: string | null;
  readonly sizeBytes: number | null;
}

/** A form of the model as one engine served it. */
export interface MeasuredVariant {
  readonly model: MeasuredModel;
  readonly name: string;
  readonly engine: string;
  /** One for each round. */
  readonly servings: readonly ServingRecord[];
  readonly failure: Variant["failure"];
}

/** The comparison of everything that a flow measured. */
export function composeFlow(plan: FlowPlan, variants: readonly MeasuredVariant[]): ComparisonRecord {
  const budgets = budgetsOf(variants);
  const names = plan.candidates.map(({ name }) => name).join(", ");
  return composeComparison(
    variants.map((variant) => subjectOf(plan, variant)),
    {
      title: `${plan.modelName}: ${names === "" ? "as it is" : `${names} against the model as it is`}`,
      slo: plan.slo,
      pricePerHour: plan.pricePerHour,
      notes: [
        ...[...budgets].map(([name, { text }]) => `${name}: ${text}.`),
        ...new Set(variants.flatMap(({ model }) => model.manifest?.notes ?? [])),
        ...brokenRounds(variants.flatMap(({ servings }) => servings)),
      ],
      aim: { minRecovery: plan.minRecovery, budgets },
    },
  );
}

function budgetsOf(variants: readonly MeasuredVariant[]): ReadonlyMap<string, BudgetEvidence> {
  return new Map(
    variants.flatMap(({ name, model }): [string, BudgetEvidence][] => {
      const evidence = model.search === null ? null : describeSearch(model.search);
      return evidence === null ? [] : [[name, evidence]];
    }),
  );
}

function subjectOf({ load, outPath }: FlowPlan, measured: MeasuredVariant): Subject {
  const { model, name, engine, servings, failure } = measured;
  const [first] = servings;
  const rounds = servings.map(({ bench, folder }) => ({ record: bench, folder }));
  const run = rounds.length === 0 ? null : readBench(name, rounds);
  const { weights, runAs, sizeBytes, evaluation } = model;
  // The name by which the server calls the model is no setting, nor is the port that it got.
  const { model: _, url: _port, ...settings } = run?.settings ?? {};
  return {
    variant: {
      name,
      weights,
      runAs,
      sizeBytes,
      evaluation: evaluation === null ? null : path.relative(outPath, evaluation.folder),
      engine: first?.server ?? engine,
      serving: servings.length === 0 ? null : factsOf(servings),
      levels: [...(run?.levels ?? [])],
      hashes: {
        weights:
          model.manifest === null ? null : addressOf({ files: model.manifest.files.filter(isWeights) }),
        answers: evaluation === null ? null : addressOf({ answers: answersOf(evaluation.record) }),
      },
      settings: first === undefined ? {} : { ...settings, engine: first.server, flags: first.flags },
      failure,
    },
    evaluation: evaluation?.record ?? null,
    kvCache:
      first?.kvCacheTokens == null
        ? null
        : { poolTokens: first.kvCacheTokens, requestTokens: load.inputTokens + load.outputTokens },
    measurements: measurementsOf(measured),
  };
}

function isWeights({ name }: { readonly name: string }): boolean {
  return /\.(safetensors|gguf)$/.test(name);
}

/** Every answer with its scores; without prompts and times. */
function answersOf({ samples }: EvaluationRecord): unknown {
  return Object.entries(samples).map(([task, rows]) => [
    task,
    rows.map(({ doc_id, filter, filtered_resps, metrics }) => [doc_id, filter, filtered_resps, metrics]),
  ]);
}

function factsOf(servings: readonly ServingRecord[]): ServingFacts {
  const known = (of: (serving: ServingRecord) => number | null): number[] =>
    servings.map(of).filter((value) => value !== null);
  const meanOf = (values: readonly number[]): number | null =>
    values.length === 0 ? null : values.reduce((a, b) => a + b, 0) / values.length;
  const peaks = known(({ peakMemoryBytes }) => peakMemoryBytes);
  return {
    readyMs: meanOf(known(({ readyMs }) => readyMs)),
    readyMemoryBytes: meanOf(known(({ readyMemoryBytes }) => readyMemoryBytes)),
    peakMemoryBytes: peaks.length === 0 ? null : Math.max(...peaks),
    memoryPlan: servings[0]!.memoryPlan,
    numRounds: servings.length,
  };
}

/** Every part with its own time, machine and build: kept parts are older than the report. */
function measurementsOf({ name, model, servings }: MeasuredVariant): Measurement[] {
  const entry = (part: Measurement["part"], origin: Origin | undefined): Measurement[] =>
    origin === undefined ? [] : [{ part, variant: name, ...origin }];
  return [
    ...entry("quantisation", model.manifest?.origin),
    ...entry("accuracy", model.evaluation?.record.origin),
    ...servings.flatMap(({ bench }) => entry("serving and load", bench.origin)),
  ];
}
