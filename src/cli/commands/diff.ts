import type { Command } from "commander";
import { z } from "zod";
import { MillraceError } from "../../base/errors.ts";
import { formatCount } from "../../base/units.ts";
import { type Component, field } from "../../config/component.ts";
import { precisionSettings, sourceSettings } from "../../config/engine-settings.ts";
import { integer } from "../../config/value-schemas.ts";
import { compareLogits } from "../../evaluate/divergence/compare-logits.ts";
import { summarizeDivergences } from "../../evaluate/divergence/summarize.ts";
import { cutWindows, type TextWindows } from "../../evaluate/divergence/windows.ts";
import { sha256 } from "../../evaluate/sha256.ts";
import type { Checkpoint } from "../../formats/checkpoint.ts";
import { modelNameOf } from "../../formats/model-name.ts";
import { createOps } from "../../kernels/create-ops.ts";
import type { DivergenceFigures } from "../../records/divergence.ts";
import { startOrigin } from "../../records/origin.ts";
import { createTokenizer } from "../../tokenizer/create-tokenizer.ts";
import type { Tokenizer } from "../../tokenizer/tokenizer.ts";
import { type CommandHelp, createCommand } from "../create-command.ts";
import { listenForInterrupt } from "../interrupt.ts";
import { kernelsText } from "../kernels-text.ts";
import { addModelArgument, modelHelp } from "../model-argument.ts";
import { openModel, openTokenizer } from "../model-source.ts";
import { openLogits } from "../open-logits.ts";
import { readText } from "../read-text.ts";
import { addSettings, readSettings } from "../settings.ts";
import { formatTable, printLine, printNote, TerminalProgress } from "../terminal.ts";

const own = {
  text: field("--text <file>", z.string({ error: "it takes a text file" }), "text on which both are run"),
  window: field("--window <tokens>", integer(1).default(512), "predicted tokens of each window"),
  maxTokens: field(
    "--max-tokens <n>",
    integer(1).optional(),
    "predicted tokens in all, from the start of the text (default: the whole text)",
  ),
  json: field("--json", z.boolean().default(false), "print JSON"),
} satisfies Component;

const help: CommandHelp = {
  summary: "Say how far one model's predictions are from another's on a text",
  details: `
Runs both models side by side over the same tokens, with the kernels that serve, and compares their whole distributions:
KL(A‖B) in nats, how often both hold the same token for the most likely, and the perplexity of each. The text is cut into
windows that begin anew, each behind the token that begins a text; every token is predicted once. --dtype and --activations
hold for both models. Both must have the same vocabulary.`,
  examples: ["millrace diff ./model ./model-w4a16 --text wiki.txt --max-tokens 8192"],
};

export function diffCommand(): Command {
  const command = createCommand("diff", help);
  addModelArgument(command, "<a>", `the model that is taken as right: ${modelHelp}`);
  addModelArgument(command, "<b>", "the other model");
  addSettings(command, own);
  addSettings(command, sourceSettings, "Tokenizer:");
  addSettings(command, precisionSettings, "Precision and kernels:");
  return command.action(runDiff);
}

async function runDiff(pathA: string, pathB: string, _options: unknown, command: Command): Promise<void> {
  const settings = readSettings(command, own);
  const precision = readSettings(command, precisionSettings);
  const a = openModel(pathA);
  const b = openModel(pathB);
  const interrupt = listenForInterrupt("No figures were written. Run the same command again.");
  const { ops, notes } = createOps({
    numThreads: precision.threads,
    backend: precision.backend,
    isa: precision.isa,
    attentionDtype: precision.attentionDtype,
  });
  try {
    const { tokenizer } = openTokenizer(a, readSettings(command, sourceSettings));
    checkVocabularies(tokenizer, a, b);
    const text = readText(settings.text);
    const windows = cutWindows(tokenizer, text, {
      size: settings.window,
      maxTokens: settings.maxTokens ?? null,
    });
    checkContext(windows, [a, b]);
    for (const note of notes) printNote(note);
    const finishOrigin = startOrigin(kernelsText(ops));
    const sources = [a, b].map((checkpoint) =>
      openLogits(ops, checkpoint, { precision, windows: windows.windows }),
    );
    const [found] = await compareLogits({
      a: sources[0]!,
      others: [sources[1]!],
      windows: windows.windows,
      progress: new TerminalProgress(),
      signal: interrupt.signal,
    });
    const figures = summarizeDivergences(found!);
    if (settings.json) {
      const { windows: _ids, ...cut } = windows;
      const models = { a: modelNameOf(pathA), b: modelNameOf(pathB) };
      const source = { file: settings.text, sha256: sha256(text), ...cut };
      printLine(
        JSON.stringify(
          { kind: "divergence", ...models, text: source, ...figures, origin: finishOrigin() },
          null,
          2,
        ),
      );
    } else {
      printFigures(figures, windows, [modelNameOf(pathA), modelNameOf(pathB)]);
    }
  } finally {
    interrupt.release();
    ops.close();
    a.close();
    b.close();
  }
}

/** A distribution over other tokens cannot be compared. */
function checkVocabularies(tokenizer: Tokenizer, a: Checkpoint, b: Checkpoint): void {
  const refuse = (difference: string): MillraceError =>
    new MillraceError(
      "nothing_to_compare",
      `${a.path} and ${b.path} have different vocabularies: ${difference}. Their distributions are over different tokens. Compare two forms of one model, or their accuracy with millrace evaluate and millrace compare.`,
    );
  const [sizeA, sizeB] = [a.config.vocabSize, b.config.vocabSize];
  if (sizeA !== sizeB) throw refuse(`${formatCount(sizeA)} and ${formatCount(sizeB)} tokens`);
  const source = b.tokenizer();
  if (source === null) return;
  const other = createTokenizer(source);
  const size = Math.min(tokenizer.vocabSize, other.vocabSize);
  for (let id = 0; id < size; id += 1) {
    const [mine, theirs] = [tokenizer.tokenText(id), other.tokenText(id)];
    if (mine !== theirs)
      throw refuse(
        `token ${id} is ${JSON.stringify(mine)} in one and ${JSON.stringify(theirs)} in the other`,
      );
  }
}

function checkContext({ windows }: TextWindows, checkpoints: readonly Checkpoint[]): void {
  const longest = Math.max(...windows.map(({ length }) => length - 1));
  for (const { path, config } of checkpoints) {
    if (longest <= config.maxPositionEmbeddings) continue;
    throw new MillraceError(
      "context_length_exceeded",
      `--window asks for ${formatCount(longest)} tokens at once; ${path} has ${formatCount(config.maxPositionEmbeddings)} positions. Lower --window.`,
      { param: "--window" },
    );
  }
}

function printFigures(figures: DivergenceFigures, cut: TextWindows, [a, b]: readonly [string, string]): void {
  const { kl, topAgreement, perplexity } = figures;
  const sure = (value: number, error: number | null, digits: number): string =>
    error === null ? value.toFixed(digits) : `${value.toFixed(digits)} ± ${error.toFixed(digits)}`;
  const percent = (error: number | null): number | null => (error === null ? null : 100 * error);
  const { ratioLow, ratioHigh } = perplexity;
  const interval =
    ratioLow === null || ratioHigh === null ? "" : ` (${ratioLow.toFixed(5)} to ${ratioHigh.toFixed(5)})`;
  printLine(
    `${formatCount(figures.numTokens)} tokens in ${cut.numWindows} windows of ${formatCount(cut.windowSize)}, each behind ${JSON.stringify(cut.prefix)}; standard errors over ${figures.errorsOver}, interval 95 %`,
  );
  const rows = [
    [`KL(${a} ‖ ${b}), nats`, sure(kl.mean, kl.standardError, 6)],
    ...(["p50", "p95", "p99", "max"] as const).map((name) => [`  ${name}`, kl[name].toFixed(6)]),
    ["same most likely token, %", sure(100 * topAgreement.mean, percent(topAgreement.standardError), 2)],
    [`perplexity of ${a}`, perplexity.a.toFixed(4)],
    [`perplexity of ${b}`, perplexity.b.toFixed(4)],
    ["ratio", `${perplexity.ratio.toFixed(5)}${interval}`],
  ];
  printLine(formatTable(["figure", "value"], rows));
}
