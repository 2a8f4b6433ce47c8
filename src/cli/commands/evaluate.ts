import path from "node:path";
import type { Command } from "commander";
import { z } from "zod";
import { MillraceError } from "../../base/errors.ts";
import { endpointUrlOf } from "../../client/endpoint.ts";
import { type Component, field, type Values } from "../../config/component.ts";
import {
  engineSettings,
  precisionSettings,
  schedulerSettings,
  sourceSettings,
} from "../../config/engine-settings.ts";
import { checkTasks } from "../../evaluate/check-tasks.ts";
import { createSandbox } from "../../evaluate/code/sandbox.ts";
import { evaluateTasks } from "../../evaluate/evaluate.ts";
import { parseGenKwargs } from "../../evaluate/generation-settings.ts";
import { type PromptSettings, plainPrompts } from "../../evaluate/prompts/build-prompt.ts";
import { Journal, remember } from "../../evaluate/requests/journal.ts";
import type { LanguageModel } from "../../evaluate/requests/model-request.ts";
import { chooseTasks } from "../../evaluate/user-tasks/load-tasks.ts";
import { writeEvaluation } from "../../flow/evaluation-files.ts";
import { describeFiles } from "../../flow/fingerprint.ts";
import { modelNameOf } from "../../formats/model-name.ts";
import { loadTokenizerSource } from "../../formats/tokenizer-source.ts";
import { createTokenizer } from "../../tokenizer/create-tokenizer.ts";
import type { Tokenizer } from "../../tokenizer/tokenizer.ts";
import { apiKeyField } from "../api-key.ts";
import { refuseIdleFlags } from "../contradicting-flags.ts";
import { type CommandHelp, createCommand } from "../create-command.ts";
import { printResults, printRunNotes, printTasks } from "../evaluation-text.ts";
import { listenForInterrupt } from "../interrupt.ts";
import { openLocalModel } from "../local-model.ts";
import { addModelArgument } from "../model-argument.ts";
import { openModel, openTokenizer } from "../model-source.ts";
import { checkOutputFolder } from "../output-folder.ts";
import { type NamedTaskModel, openChatModel, openCompletionsModel } from "../remote-model.ts";
import { addSettings, readSettings } from "../settings.ts";
import { taskChoiceOf, taskSettings } from "../task-choice.ts";
import { printNote, TerminalProgress } from "../terminal.ts";
import { trustOf, trustSettings } from "../trust-settings.ts";

const serverFlags = {
  url: field(
    "--url <url>",
    z.string().optional(),
    "score through a server's POST /v1/completions (echo and logprobs) instead of loading the model; [model] then gives the tokenizer only",
  ),
  servedModel: field(
    "--served-model <name>",
    z.string().optional(),
    "name of the model at --url (default: the first that it lists)",
  ),
  apiKey: apiKeyField("bearer token for --url"),
  ...trustSettings,
  chat: field(
    "--chat",
    z.boolean().default(false),
    "ask --url by POST /v1/chat/completions: tasks with written answers only, no tokenizer needed",
  ),
} satisfies Component;

const promptFlags = {
  applyChatTemplate: field(
    "--apply-chat-template",
    z.boolean().default(false),
    "make each prompt a conversation in the model's chat template, shots as turns",
  ),
  shotsInOneTurn: field(
    "--shots-in-one-turn",
    z.boolean().default(false),
    "with --apply-chat-template: all shots in one user message",
  ),
  systemInstruction: field(
    "--system-instruction <text>",
    z.string().optional(),
    "system message, or text before everything",
  ),
  genKwargs: field(
    "--gen-kwargs <settings>",
    z.string().optional(),
    "change how answers are written: max_gen_toks=512,temperature=0.7,do_sample=true,top_p=0.9,until=TEXT, or a JSON object",
  ),
} satisfies Component;

const runFlags = {
  journal: field(
    "--journal <file>",
    z.string().optional(),
    "keep every answer here as it comes; the same command goes on from it after a break",
  ),
  allowCodeExecution: field(
    "--allow-code-execution",
    z.boolean().default(false),
    "let tasks run the programs that the model writes, in a sandbox",
  ),
  out: field(
    "--out <folder>",
    z.string().optional(),
    "write the results and the samples as lm-eval does, into a folder of the model's name in this one",
  ),
  json: field("--json", z.boolean().default(false), "print the results as JSON"),
} satisfies Component;

const own = { ...serverFlags, ...promptFlags, ...runFlags } satisfies Component;

const help: CommandHelp = {
  summary: "Measure a model's accuracy or perplexity on tasks",
  details: `
Prompts, tokenisation and metrics are lm-eval's.`,
  examples: [
    "millrace evaluate --tasks list",
    "millrace evaluate ./model --tasks arc_easy,wikitext --limit wikitext=4,arc_easy=100",
    "millrace evaluate ./model --tasks arc_easy --split validation --data ./data --activations f32 --out ./scores",
    "millrace evaluate ./model --url http://127.0.0.1:8000 --tasks arc_easy --data ./data",
  ],
};

export function evaluateCommand(): Command {
  const command = addModelArgument(createCommand("evaluate", help), "[model]");
  addSettings(command, taskSettings, "What is evaluated:");
  addSettings(command, promptFlags, "Prompts and answers:");
  addSettings(command, runFlags, "Run and results:");
  addSettings(command, serverFlags, "By a server:");
  addSettings(command, sourceSettings, "Tokenizer:");
  addSettings(command, precisionSettings, "Precision and kernels:");
  addSettings(command, schedulerSettings, "Batching and memory:");
  return command.action(runEvaluate);
}

async function runEvaluate(
  modelPath: string | undefined,
  _options: unknown,
  command: Command,
): Promise<void> {
  const { tasks = [] } = readSettings(command, taskSettings);
  if (tasks.includes("list")) {
    const { registry } = await chooseTasks(tasks.filter((name) => name !== "list"));
    return printTasks(registry);
  }
  const { out, json, ...server } = readSettings(command, own);
  const source = readSettings(command, sourceSettings);
  const hasTokenizer = source.tokenizer !== undefined || server.chat;
  if (tasks.length === 0 || (modelPath === undefined && (server.url === undefined || !hasTokenizer))) {
    throw new MillraceError(
      "invalid_option",
      "evaluate takes a model and --tasks, such as: millrace evaluate ./model --tasks arc_easy. With --url, the model (or --tokenizer) gives the tokenizer. `--tasks list` names the tasks.",
      { param: "--tasks" },
    );
  }
  refuseContradictions(command, server);
  const genKwargs = parseGenKwargs(server.genKwargs);
  if (out !== undefined) checkOutputFolder(out);
  const choice = await taskChoiceOf(readSettings(command, taskSettings));
  checkTasks(choice);
  const codeRunner = server.allowCodeExecution ? await createSandbox() : null;
  const interrupt = listenForInterrupt(interruptAdvice(server.journal));
  try {
    const engine = readSettings(command, engineSettings);
    const { tasks: chosen } = choice.registry.expand(choice.tasks);
    const isScoringOnly = chosen.every(({ kind }) => kind !== "generate_until");
    const opened = await openTaskModel(modelPath, server, { engine, source, isScoringOnly });
    try {
      const record = await evaluateTasks({
        ...choice,
        prompts: promptSettingsOf(server),
        genKwargs,
        codeRunner,
        model: server.journal === undefined ? opened.model : rememberIn(server.journal, opened, modelPath),
        modelName: opened.name,
        modelSource: opened.source,
        tokenizer: opened.tokenizer,
        modelArgs: opened.modelArgs,
        kernels: opened.kernels,
        progress: new TerminalProgress(),
        signal: interrupt.signal,
      });
      printRunNotes(record);
      if (out !== undefined) {
        const folder = path.resolve(out, record.model_name_sanitized);
        printNote(`results and samples: ${writeEvaluation(folder, record)}`);
      }
      printResults(record, json);
    } finally {
      await opened.close();
    }
  } finally {
    interrupt.release();
  }
}

/** Flags that would be passed over in silence. */
function refuseContradictions(
  command: Command,
  { url, chat, applyChatTemplate }: Pick<Values<typeof own>, "url" | "chat" | "applyChatTemplate">,
): void {
  const { servedModel, apiKey, shotsInOneTurn } = own;
  if (url === undefined) {
    const remote = { chat: own.chat, servedModel, apiKey, ...trustSettings };
    const why = "the model is loaded into this process. Give the server with --url, or leave it out.";
    refuseIdleFlags(command, remote, why);
  } else {
    const { maxModelLen: _told, ...local } = engineSettings;
    const why = "the server at --url runs the model. Start the server with it, or leave it out.";
    refuseIdleFlags(command, local, why);
  }
  if (!chat && !applyChatTemplate) {
    const why = "prompts are no conversations. Add --apply-chat-template, or leave it out.";
    refuseIdleFlags(command, { shotsInOneTurn }, why);
  }
  if (chat) {
    const why =
      "with --chat the server makes texts and tokens of the messages. Leave it out, or leave out --chat.";
    refuseIdleFlags(command, sourceSettings, why);
  }
}

function interruptAdvice(journal: string | undefined): string {
  return journal === undefined
    ? "No results were written. With --journal FILE, the same command goes on from the answers it has."
    : `Run the same command again: it goes on from the answers in ${journal}.`;
}

/** What is already answered stands in the journal, by model and settings. */
function rememberIn(
  file: string,
  { name, model, modelArgs }: NamedTaskModel,
  modelPath: string | undefined,
): LanguageModel {
  const journal = new Journal(path.resolve(file));
  const files = modelPath === undefined ? [] : describeFiles(modelPath);
  if (journal.size > 0)
    printNote(`${file} holds ${journal.size} answers; those of this model are not asked again.`);
  return remember(model, journal, JSON.stringify([name, modelArgs, files]));
}

interface LocalSettings {
  readonly engine: Values<typeof engineSettings>;
  readonly source: Values<typeof sourceSettings>;
  /** No task has written answers. */
  readonly isScoringOnly: boolean;
}

function promptSettingsOf(
  settings: Pick<Values<typeof own>, "applyChatTemplate" | "shotsInOneTurn" | "systemInstruction" | "chat">,
): PromptSettings {
  const { systemInstruction = null, shotsInOneTurn, chat } = settings;
  const isChat = settings.applyChatTemplate || chat;
  return { ...plainPrompts, systemInstruction, isChat, hasShotTurns: isChat && !shotsInOneTurn };
}

/** The model in a worker of our own, or behind --url. */
async function openTaskModel(
  modelPath: string | undefined,
  server: Pick<Values<typeof own>, "url" | "servedModel" | "apiKey" | "chat" | "ca" | "insecure">,
  { engine, source, isScoringOnly }: LocalSettings,
): Promise<NamedTaskModel> {
  if (server.url === undefined) {
    const opened = await openLocalModel(modelPath!, engine, { ...source, isScoringOnly });
    return { ...opened, name: modelNameOf(modelPath!), source: "millrace" };
  }
  const remote = {
    endpoint: { url: endpointUrlOf(server.url, "--url"), apiKey: server.apiKey, tls: trustOf(server) },
    model: server.servedModel ?? null,
    maxModelLen: typeof engine.maxModelLen === "number" ? engine.maxModelLen : null,
  };
  return server.chat ? openChatModel(remote) : openCompletionsModel(remote, tokenizerOf(modelPath, source));
}

function tokenizerOf(modelPath: string | undefined, source: LocalSettings["source"]): Tokenizer {
  if (modelPath === undefined) return createTokenizer(loadTokenizerSource(source.tokenizer!));
  const checkpoint = openModel(modelPath);
  try {
    return openTokenizer(checkpoint, source).tokenizer;
  } finally {
    checkpoint.close();
  }
}
