import { fakeEosTokenId } from "../src/protocol/fake-engine-client.ts";
import type { ChatTemplate, Tokenizer } from "../src/tokenizer/tokenizer.ts";

/** Id of the token before every text when special tokens are added. */
export const byteBosTokenId = 257;

const eosText = "</s>";
const specialTexts: ReadonlyMap<number, string> = new Map([
  [fakeEosTokenId, eosText],
  [byteBosTokenId, "<s>"],
]);

/** `[role]content` lines, and `[assistant]` where an answer is to begin. */
export const lineTemplate: ChatTemplate = {
  source: "lines",
  render: (messages, options = {}) => {
    const lines = messages.map((message) => `[${message.role}]${message.content ?? ""}\n`);
    const variables = Object.entries(options.variables ?? {}).map(
      ([key, value]) => `{${key}=${String(value)}}`,
    );
    return variables.join("") + lines.join("") + (options.addGenerationPrompt === true ? "[assistant]" : "");
  },
};

/** One token per UTF-8 byte, fitting the fake engine's vocabulary: characters arrive in parts, as in real streams. */
export function createByteTokenizer(
  options: { readonly chatTemplate?: ChatTemplate | null } = {},
): Tokenizer {
  const bytesOf = (id: number, skipSpecialTokens: boolean): Uint8Array => {
    const special = specialTexts.get(id);
    if (special !== undefined)
      return skipSpecialTokens ? new Uint8Array() : new TextEncoder().encode(special);
    return id < 256 ? Uint8Array.of(id) : new Uint8Array();
  };
  return {
    vocabSize: 512,
    bosTokenId: byteBosTokenId,
    eosTokenIds: [fakeEosTokenId],
    encode: (text, { addSpecialTokens = true } = {}) => [
      ...(addSpecialTokens ? [byteBosTokenId] : []),
      ...new TextEncoder().encode(text),
    ],
    decode: (ids, { skipSpecialTokens = true } = {}) =>
      Buffer.concat(ids.map((id) => bytesOf(id, skipSpecialTokens))).toString("utf8"),
    tokenBytes: (id) => (id < 512 ? bytesOf(id, true) : undefined),
    tokenText: (id) => specialTexts.get(id) ?? `<0x${id.toString(16)}>`,
    isSpecial: (id) => specialTexts.has(id),
    chatTemplate: options.chatTemplate === undefined ? lineTemplate : options.chatTemplate,
    stream: ({ skipSpecialTokens = true } = {}) => {
      const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
      return {
        push: (id) => decoder.decode(bytesOf(id, skipSpecialTokens), { stream: true }),
        flush: () => decoder.decode(),
      };
    },
  };
}
