import { createHash } from "node:crypto";
import type { EvaluationSample } from "../records/evaluation.ts";
import { choiceMetrics, type Likelihood, textMetrics } from "./scoring.ts";
import { sum } from "./statistics.ts";
import type { ChoiceDocument, TextDocument } from "./task.ts";

/** The record of one question; `arguments` are the exact strings that were scored. */
export function choiceSample(
  index: number,
  document: ChoiceDocument,
  likelihoods: readonly Likelihood[],
): EvaluationSample {
  return {
    doc_id: index,
    doc: document.doc,
    target: document.gold,
    arguments: document.choices.map((choice) => [document.context, ` ${choice}`]),
    resps: likelihoods.map(({ logLikelihood, isGreedy }) => [logLikelihood, isGreedy]),
    filter: "none",
    metrics: choiceMetrics(document, likelihoods),
    ...hashes(document.doc, document.context, String(document.gold)),
  };
}

/** The record of one text; the log-likelihoods of its windows are added up. */
export function textSample(
  index: number,
  document: TextDocument,
  windows: readonly Likelihood[],
): EvaluationSample {
  const logLikelihood = sum(windows.map((window) => window.logLikelihood));
  return {
    doc_id: index,
    doc: document.doc,
    target: document.text,
    arguments: [[document.text]],
    resps: [[logLikelihood]],
    filter: "none",
    metrics: textMetrics(document, logLikelihood),
    ...hashes(document.doc, document.text, document.text),
  };
}

function hashes(
  doc: Readonly<Record<string, unknown>>,
  prompt: string,
  target: string,
): Pick<EvaluationSample, "doc_hash" | "prompt_hash" | "target_hash"> {
  return {
    doc_hash: sha256(JSON.stringify(doc, null, 2)),
    prompt_hash: sha256(prompt),
    target_hash: sha256(target),
  };
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
