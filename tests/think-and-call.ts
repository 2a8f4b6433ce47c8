import type { ChatTemplate } from "../src/tokenizer/tokenizer.ts";
import { createByteTokenizer } from "./byte-tokenizer.ts";
import { createServedFake, type ServedFake } from "./served-fake.ts";

/** Shows tools, as the templates of Qwen and Hermes do, and lets the model think. */
const template: ChatTemplate = {
  source: "{{ tools }} <tool_call> </think>",
  render: (messages, { tools } = {}) =>
    `${JSON.stringify(tools ?? [])}\n${messages.map(({ role, content }) => `[${role}]${content ?? ""}\n`).join("")}`,
};

export const weatherParameters = {
  type: "object" as const,
  properties: { city: { type: "string" } },
  required: ["city"],
  additionalProperties: false,
};

const thought = "<think>\nI ask for it.\n</think>\n\n";
const call = '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>';
export const afterwards = "Rain 🌧 tomorrow.";

/**
 * A model that calls the tool `weather` where one is shown, says what comes of it once it was told, and goes on for long
 * where it reads `long`.
 */
export function createThinkingFake(): ServedFake {
  const answerTo = (prompt: string): string => {
    if (prompt.includes("long")) return "la ".repeat(1000);
    if (prompt.includes("[tool]")) return afterwards;
    return prompt.startsWith("[]") ? `${thought}Hello 🙂` : `${thought}Let me see.\n${call}`;
  };
  return createServedFake(
    {
      info: { maxModelLen: 16_384 },
      reply: ({ promptTokenIds }) => [
        ...new TextEncoder().encode(answerTo(Buffer.from([...promptTokenIds]).toString("utf8"))),
      ],
    },
    { tokenizer: createByteTokenizer({ chatTemplate: template }) },
  );
}
