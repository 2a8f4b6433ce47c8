import { MillraceError } from "../base/errors.ts";
import type { Checkpoint, TokenizerSource } from "../formats/checkpoint.ts";
import { openCheckpoint } from "../formats/open-checkpoint.ts";
import { loadTokenizerSource } from "../formats/tokenizer-source.ts";
import { mapFile } from "../kernels/map-file.ts";
import { requireArchitecture } from "../model/registry.ts";
import { createTokenizer } from "../tokenizer/create-tokenizer.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { checkChatTemplate } from "./chat-template.ts";
import { readText } from "./read-text.ts";

/** Opens a model; one that cannot be run here is refused by the name of its architecture, unless the caller decides. */
export function openModel(modelPath: string, onArchitecture = requireArchitecture): Checkpoint {
  return openCheckpoint(modelPath, { mapFile, onArchitecture });
}

/** The tokenizer of a model, or the one given with --tokenizer; with --chat-template in place of its own. */
export function openTokenizer(
  checkpoint: Checkpoint,
  given: { readonly tokenizer?: string | undefined; readonly chatTemplate?: string | undefined },
): { readonly tokenizer: Tokenizer; readonly source: TokenizerSource } {
  const found = given.tokenizer === undefined ? checkpoint.tokenizer() : loadTokenizerSource(given.tokenizer);
  if (found === null) {
    throw new MillraceError(
      "no_tokenizer",
      `${checkpoint.path} has no tokenizer and this command needs text. Give one with --tokenizer: a folder, a tokenizer.json or a GGUF file.`,
      { param: "--tokenizer" },
    );
  }
  const { chatTemplate } = given;
  const source = chatTemplate === undefined ? found : { ...found, chatTemplate: readText(chatTemplate) };
  const tokenizer = createTokenizer(source);
  if (chatTemplate !== undefined && tokenizer.chatTemplate !== null) {
    checkChatTemplate(tokenizer.chatTemplate, chatTemplate);
  }
  return { tokenizer, source };
}
