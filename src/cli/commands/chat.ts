import { createInterface } from "node:readline/promises";
import { Command } from "commander";
import { z } from "zod";
import { MillraceError } from "../../base/errors.ts";
import { type Component, field, type Values } from "../../config/component.ts";
import { precisionSettings, schedulerSettings, sourceSettings } from "../../config/engine-settings.ts";
import { samplingSettings } from "../../config/server-settings.ts";
import { startEngineWorker } from "../../engine/worker-client.ts";
import type { EngineClient } from "../../protocol/engine-client.ts";
import { createTextStream } from "../../text/text-generator.ts";
import type { ChatMessage, Tokenizer } from "../../tokenizer/tokenizer.ts";
import { engineOptionsOf, openModel, openTokenizer } from "../model-source.ts";
import { samplingParamsOf } from "../sampling.ts";
import { addEngineSettings, addSettings, readSettings } from "../settings.ts";
import { printNote } from "../terminal.ts";

const own = {
  system: field("--system <text>", z.string().optional(), "system message"),
} satisfies Component;

const { seed: _engineSeed, ...schedulerFlags } = schedulerSettings;
const engineFlags = { ...precisionSettings, ...schedulerFlags };

const summary = "talk to a model in the terminal";

const description = `${summary}

Examples:
  millrace chat ./model
  millrace chat model.gguf --system "Answer in one sentence." --temperature 0.7
  echo "What is 2+2?" | millrace chat ./model

Type a message and press enter. /reset forgets the conversation, /exit or Ctrl-D ends it, Ctrl-C stops an answer.`;

export function chatCommand(): Command {
  const command = new Command("chat")
    .summary(summary)
    .description(description)
    .argument("<model>", "a model folder or a GGUF file");
  addSettings(command, own);
  addSettings(command, samplingSettings, "Sampling:");
  addEngineSettings(command, { scheduler: schedulerFlags });
  return command.action(runChat);
}

/** One conversation: its messages and what is needed to answer. */
interface Conversation {
  readonly client: EngineClient;
  readonly tokenizer: Tokenizer;
  readonly sampling: Values<typeof samplingSettings>;
  readonly messages: ChatMessage[];
}

async function runChat(modelPath: string, _options: unknown, command: Command): Promise<void> {
  const { system } = readSettings(command, own);
  const sampling = readSettings(command, samplingSettings);
  const checkpoint = openModel(modelPath);
  const { tokenizer } = openTokenizer(checkpoint, readSettings(command, sourceSettings));
  checkpoint.close();
  if (tokenizer.chatTemplate === null) {
    throw new MillraceError(
      "no_chat_template",
      `${modelPath} has no chat template. Use \`millrace complete\`, or give one with --chat-template FILE.`,
    );
  }
  const settings = { ...readSettings(command, engineFlags), seed: 0 };
  const client = await startEngineWorker(engineOptionsOf(modelPath, settings));
  const first: ChatMessage[] = system === undefined ? [] : [{ role: "system", content: system }];
  try {
    for (const note of client.info.notes) printNote(note);
    await converse({ client, tokenizer, sampling, messages: [...first] }, first);
  } finally {
    await client.close();
  }
}

async function converse(conversation: Conversation, first: readonly ChatMessage[]): Promise<void> {
  const lines = createInterface({ input: process.stdin, output: process.stderr, prompt: "> " });
  let answering: AbortController | null = null;
  lines.on("SIGINT", () => (answering === null ? lines.close() : answering.abort()));
  lines.prompt();
  for await (const line of lines) {
    const text = line.trim();
    if (text === "/exit") break;
    if (text === "/reset") conversation.messages.splice(0, Infinity, ...first);
    else if (text !== "") {
      answering = new AbortController();
      await answer(conversation, text, answering.signal);
      answering = null;
    }
    lines.prompt();
  }
  lines.close();
}

async function answer(conversation: Conversation, text: string, stop: AbortSignal): Promise<void> {
  const { client, tokenizer, sampling, messages } = conversation;
  messages.push({ role: "user", content: text });
  const prompt = tokenizer.chatTemplate!.render(messages, { addGenerationPrompt: true });
  const promptTokenIds = tokenizer.encode(prompt, { addSpecialTokens: false });
  const room = client.info.maxModelLen - promptTokenIds.length;
  if (room < 1) {
    printNote(
      "The conversation fills the context. Type /reset to start anew, or use a larger --max-model-len.",
    );
    messages.pop();
    return;
  }
  const params = samplingParamsOf(sampling);
  const request = {
    requestId: `chat-${messages.length}-${Date.now()}`,
    promptTokenIds,
    sampling: { ...params, maxTokens: Math.min(params.maxTokens, room) },
    stop: sampling.stop,
    includeStopInOutput: false,
    skipSpecialTokens: true,
  };
  let reply = "";
  for await (const delta of createTextStream(client, tokenizer, request)) {
    process.stdout.write(delta.text);
    reply += delta.text;
    if (stop.aborted) break;
  }
  process.stdout.write("\n");
  messages.push({ role: "assistant", content: reply });
}
