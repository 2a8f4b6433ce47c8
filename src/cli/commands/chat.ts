import type { Command } from "commander";
import { z } from "zod";
import { MillraceError } from "../../base/errors.ts";
import { type Component, field } from "../../config/component.ts";
import { precisionSettings, schedulerSettings, sourceSettings } from "../../config/engine-settings.ts";
import { samplingSettings } from "../../config/server-settings.ts";
import { startEngineWorker } from "../../engine/worker-client.ts";
import { runChatSession } from "../chat-session.ts";
import { type CommandHelp, createCommand } from "../create-command.ts";
import { engineOptionsOf } from "../engine-options.ts";
import { addModelArgument } from "../model-argument.ts";
import { openModel, openTokenizer } from "../model-source.ts";
import { samplingParamsOf } from "../sampling.ts";
import { addEngineSettings, addSettings, readSettings } from "../settings.ts";
import { printNote } from "../terminal.ts";

const own = {
  system: field("--system <text>", z.string().optional(), "system message"),
} satisfies Component;

const { seed: _engineSeed, ...schedulerFlags } = schedulerSettings;
const engineFlags = { ...precisionSettings, ...schedulerFlags };

const help: CommandHelp = {
  summary: "Talk to a model in the terminal",
  details: `
Type a message and press enter. /reset forgets the conversation, /exit or Ctrl-D ends it, Ctrl-C stops an answer.`,
  examples: [
    "millrace chat ./model",
    'millrace chat model.gguf --system "Answer in one sentence." --temperature 0.7',
    'echo "What is 2+2?" | millrace chat ./model',
  ],
};

export function chatCommand(): Command {
  const command = addModelArgument(createCommand("chat", help));
  addSettings(command, own);
  addSettings(command, samplingSettings, "Sampling:");
  addEngineSettings(command, { scheduler: schedulerFlags });
  return command.action(runChat);
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
  try {
    for (const note of client.info.notes) printNote(note);
    await runChatSession(
      {
        client,
        tokenizer,
        template: tokenizer.chatTemplate,
        sampling: samplingParamsOf(sampling),
        stop: sampling.stop,
        system,
      },
      {
        input: process.stdin,
        answers: process.stdout,
        dialogue: process.stderr,
        isTerminal: process.stdin.isTTY && process.stderr.isTTY,
      },
    );
  } finally {
    await client.close();
  }
}
