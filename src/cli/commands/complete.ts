import type { Command } from "commander";
import { z } from "zod";
import { MillraceError } from "../../base/errors.ts";
import { type Component, field } from "../../config/component.ts";
import { precisionSettings, schedulerSettings, sourceSettings } from "../../config/engine-settings.ts";
import { samplingSettings } from "../../config/server-settings.ts";
import { startEngineWorker } from "../../engine/worker-client.ts";
import { modelNameOf } from "../../formats/model-name.ts";
import { createTextStream, type TextStreamRequest } from "../../text/text-generator.ts";
import { type CommandHelp, createCommand } from "../create-command.ts";
import { engineOptionsOf } from "../engine-options.ts";
import { addModelArgument } from "../model-argument.ts";
import { openModel, openTokenizer } from "../model-source.ts";
import { readText } from "../read-text.ts";
import { samplingParamsOf } from "../sampling.ts";
import { addEngineSettings, addSettings, readSettings } from "../settings.ts";
import { printLine, printNote } from "../terminal.ts";

const own = {
  prompt: field("--prompt <text>", z.string().optional(), "text to continue"),
  promptFile: field("--prompt-file <file>", z.string().optional(), "read the prompt from a file"),
  json: field(
    "--json",
    z.boolean().default(false),
    "print one OpenAI completion object; its choice has token_ids",
  ),
} satisfies Component;

// --seed is the request's here; the engine's own seed serves only requests without one.
const { seed: _engineSeed, ...schedulerFlags } = schedulerSettings;
// A chat template has nothing to do here.
const sourceFlags = { tokenizer: sourceSettings.tokenizer };
const engineFlags = { ...precisionSettings, ...schedulerFlags };

const help: CommandHelp = {
  summary: "Continue a text in this process and print it as it comes",
  examples: [
    'millrace complete ./model --prompt "The capital of France is" --max-tokens 20',
    'millrace complete model.gguf --prompt "Once" --temperature 0.8 --seed 7',
    'millrace complete ./model --prompt-file story.txt --stop "###" --stop "END"',
    'millrace complete model.gguf --prompt "Once" --max-tokens 32 --json',
  ],
};

export function completeCommand(): Command {
  const command = addModelArgument(createCommand("complete", help));
  addSettings(command, own);
  addSettings(command, samplingSettings, "Sampling:");
  addEngineSettings(command, { source: sourceFlags, scheduler: schedulerFlags });
  return command.action(runComplete);
}

async function runComplete(modelPath: string, _options: unknown, command: Command): Promise<void> {
  const { json, ...given } = readSettings(command, own);
  const text = readPrompt(given);
  const sampling = readSettings(command, samplingSettings);
  const checkpoint = openModel(modelPath);
  const { tokenizer } = openTokenizer(checkpoint, readSettings(command, sourceFlags));
  checkpoint.close();
  const settings = { ...readSettings(command, engineFlags), seed: 0 };
  const client = await startEngineWorker(engineOptionsOf(modelPath, settings));
  try {
    if (!json) for (const note of client.info.notes) printNote(note);
    const promptTokenIds = tokenizer.encode(text);
    const request: TextStreamRequest = {
      requestId: "complete",
      promptTokenIds,
      sampling: samplingParamsOf(sampling),
      stop: sampling.stop,
      includeStopInOutput: false,
      skipSpecialTokens: true,
    };
    const result = { text: "", tokenIds: [] as number[], finishReason: "length" };
    for await (const delta of createTextStream(client, tokenizer, request)) {
      result.text += delta.text;
      result.tokenIds.push(...delta.tokenIds);
      if (delta.finishReason !== null) result.finishReason = delta.finishReason;
      if (!json) process.stdout.write(delta.text);
    }
    if (json)
      printLine(JSON.stringify(completionObject(modelNameOf(modelPath), promptTokenIds.length, result)));
    else printLine("");
  } finally {
    await client.close();
  }
}

function readPrompt({
  prompt,
  promptFile,
}: {
  prompt?: string | undefined;
  promptFile?: string | undefined;
}): string {
  if (prompt !== undefined && promptFile !== undefined) {
    throw new MillraceError(
      "invalid_option",
      `--prompt is ${JSON.stringify(prompt.slice(0, 60))} and --prompt-file is ${promptFile}; there is one prompt. Leave one of them out.`,
      { param: "--prompt-file" },
    );
  }
  const text = promptFile === undefined ? prompt : readText(promptFile);
  if (text !== undefined) return text;
  throw new MillraceError("invalid_option", "There is no prompt. Give --prompt TEXT or --prompt-file FILE.");
}

function completionObject(
  model: string,
  promptTokens: number,
  result: { readonly text: string; readonly tokenIds: readonly number[]; readonly finishReason: string },
): Record<string, unknown> {
  return {
    id: "cmpl-local",
    object: "text_completion",
    created: Math.floor(Date.now() / 1000),
    model,
    choices: [
      {
        index: 0,
        text: result.text,
        logprobs: null,
        finish_reason: result.finishReason,
        token_ids: result.tokenIds,
      },
    ],
    usage: {
      prompt_tokens: promptTokens,
      completion_tokens: result.tokenIds.length,
      total_tokens: promptTokens + result.tokenIds.length,
    },
  };
}
