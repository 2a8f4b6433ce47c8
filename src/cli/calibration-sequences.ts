import path from "node:path";
import { z } from "zod";
import { MillraceError } from "../base/errors.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import {
  type CalibrationSize,
  type CalibrationTokens,
  checkCalibration,
  cutCalibration,
  decodeCalibration,
  pickCalibration,
  sequenceTooLong,
} from "../quantize/calibration/calibration-tokens.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { generateSequences } from "./generate-sequences.ts";
import { openTokenizer } from "./model-source.ts";
import { readText } from "./read-text.ts";

/** In place of a file: the model writes the text. */
const self = "self";

export interface CalibrationChoice {
  /** A file's name, or "self". */
  readonly source: string;
  readonly size: CalibrationSize;
  readonly tokenizer: string | undefined;
}

/**
 * Token ids to calibrate on: of a file of ids (.json), of conversations (.jsonl) as the model's chat template puts them, of
 * any other text, or of what the model writes itself. Throws `invalid_data_file`, `no_tokenizer`, `no_chat_template`,
 * `file_not_found`, and what the engine throws.
 */
export async function readCalibration(
  checkpoint: Checkpoint,
  { source, size, tokenizer: tokenizerPath }: CalibrationChoice,
): Promise<CalibrationTokens> {
  if (source.endsWith(".json")) {
    const tokens = decodeCalibration(readText(source), source);
    // By the name that was given: the file tells of the text that it was cut from.
    checkCalibration({ ...tokens, source }, checkpoint.config);
    return tokens;
  }
  if (source === self) {
    const { maxPositionEmbeddings } = checkpoint.config;
    if (size.length > maxPositionEmbeddings)
      throw sequenceTooLong("--calibration self would write", size.length, maxPositionEmbeddings);
    const sequences = await generateSequences(checkpoint, size, tokenizerPath);
    return pickCalibration(sequences, size, "what the model wrote");
  }
  const { tokenizer } = openTokenizer(checkpoint, { tokenizer: tokenizerPath });
  const text = readText(source);
  const name = path.basename(source);
  if (source.endsWith(".jsonl")) return pickCalibration(encodeChats(text, source, tokenizer), size, name);
  return cutCalibration(tokenizer.encode(text, { addSpecialTokens: false }), size, name);
}

const chatSchema = z.object({
  messages: z.array(z.looseObject({ role: z.string(), content: z.string().nullable() })).min(1),
});

/** Ids of each line's `messages`, as OpenAI's API has them. */
function encodeChats(text: string, file: string, tokenizer: Tokenizer): number[][] {
  const { chatTemplate } = tokenizer;
  if (chatTemplate === null) {
    throw new MillraceError(
      "no_chat_template",
      `${file} holds conversations, but the model has no chat template to write them with. Give a plain text (.txt) with --calibration, or a tokenizer with a template with --tokenizer.`,
      { param: "--calibration" },
    );
  }
  return text.split("\n").flatMap((line, index) => {
    if (line.trim() === "") return [];
    const { messages } = readChat(line, `${file}:${index + 1}`);
    return [tokenizer.encode(chatTemplate.render(messages), { addSpecialTokens: false })];
  });
}

function readChat(line: string, place: string): z.infer<typeof chatSchema> {
  try {
    return chatSchema.parse(JSON.parse(line));
  } catch (error) {
    throw new MillraceError(
      "invalid_data_file",
      `${place} is no conversation. Each line of a .jsonl file takes an object such as {"messages": [{"role": "user", "content": "Hello"}]}. Correct it, or give a plain text (.txt).`,
      { param: "--calibration", cause: error },
    );
  }
}
