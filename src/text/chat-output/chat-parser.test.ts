import { describe, expect, test } from "vitest";
import { createRandom } from "../../../tests/law/covering-array.ts";
import { type ChatFormat, ChatParser } from "./chat-parser.ts";
import type { ChatPart } from "./chat-part.ts";
import { reasoningOfTemplate, reasoningSyntaxes } from "./reasoning-splitter.ts";
import { forcedSyntax, type ToolSyntax, toolSyntaxes, toolSyntaxOfTemplate } from "./tool-syntax.ts";

interface Message {
  content: string;
  reasoning: string;
  readonly calls: { readonly name: string; arguments: string }[];
}

function sum(parts: readonly ChatPart[]): Message {
  const message: Message = { content: "", reasoning: "", calls: [] };
  for (const part of parts) {
    if (part.kind === "call") {
      expect(part.index).toBe(message.calls.length);
      message.calls.push({ name: part.name, arguments: "" });
    } else if (part.kind === "arguments") message.calls[part.index]!.arguments += part.text;
    else message[part.kind] += part.text;
  }
  return message;
}

function parse(format: ChatFormat, pieces: readonly string[]): Message {
  const parser = new ChatParser(format);
  const parts = pieces.flatMap((piece) => parser.push(piece));
  return sum([...parts, ...parser.flush()]);
}

function withTools(syntax: ToolSyntax, maxCalls = Infinity): ChatFormat {
  const calls = { syntax, names: new Set(["weather", "add"]), maxCalls };
  return { reasoning: reasoningSyntaxes.think, startsInReasoning: false, calls };
}

const oslo = { name: "weather", arguments: '{"city": "Oslo"}' };
const two = { name: "add", arguments: '{"a": 1, "b": [2, "}"]}' };

/** Answers, what they mean, and in whose syntax. */
const answers: readonly (readonly [string, keyof typeof toolSyntaxes, string, Partial<Message>])[] = [
  ["plain text", "hermes", "Hello <tool> you\n", { content: "Hello <tool> you\n" }],
  [
    "one call",
    "hermes",
    '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>',
    { calls: [oslo] },
  ],
  [
    "text, two calls, text",
    "hermes",
    'Look.\n<tool_call>{"name":"weather","arguments":{"city": "Oslo"}}</tool_call>\n<tool_call>\n' +
      '{"arguments": {"a": 1, "b": [2, "}"]}, "name": "add"}</tool_call>\n\nDone. ',
    { content: "Look.Done.", calls: [oslo, two] },
  ],
  [
    "reasoning before a call",
    "hermes",
    '<think>\nI need <tool_call>.\n</think>\n\n<tool_call>{"name":"weather","arguments":{"city": "Oslo"}}</tool_call>',
    { reasoning: "I need <tool_call>.", calls: [oslo] },
  ],
  [
    "a call cut off",
    "hermes",
    '<tool_call>{"name":"add","arguments":{"a": 1, "b',
    { calls: [{ name: "add", arguments: '{"a": 1, "b' }] },
  ],
  [
    "a call without arguments",
    "hermes",
    '<tool_call>{"name": "add"}</tool_call>',
    { calls: [{ name: "add", arguments: "{}" }] },
  ],
  [
    "arguments as text",
    "hermes",
    '<tool_call>{"name":"add","arguments":"{\\"a\\": 1}"}</tool_call>',
    { calls: [{ name: "add", arguments: '{"a": 1}' }] },
  ],
  [
    "no JSON between markers",
    "hermes",
    "a <tool_call>hm</tool_call> b",
    { content: "a <tool_call>hm</tool_call> b" },
  ],
  ["nothing between markers", "hermes", "<tool_call></tool_call>x", { content: "<tool_call></tool_call>x" }],
  ["a marker at the end", "hermes", "x <tool_call>\n", { content: "x <tool_call>\n" }],
  [
    "other keys",
    "hermes",
    '<tool_call>{"id": [1, {"x": "]"}], "n": -1.5e3 , "name": "add", "arguments": null}',
    { calls: [{ name: "add", arguments: "{}" }] },
  ],
  [
    "bare JSON",
    "llama3_json",
    ' {"type": "function", "name": "weather", "parameters": {"city": "Oslo"}}',
    { calls: [oslo] },
  ],
  [
    "bare JSON after a marker",
    "llama3_json",
    '<|python_tag|>{"name": "weather", "parameters": {"city": "Oslo"}}; {"name":"add","parameters":{"a": 1, "b": [2, "}"]}}',
    { calls: [oslo, two] },
  ],
  [
    "JSON that is no call",
    "llama3_json",
    '{"name": "Bob", "age": {"arguments": 3}} <|python_tag|>x',
    { content: '{"name": "Bob", "age": {"arguments": 3}} <|python_tag|>x' },
  ],
  [
    "a list",
    "mistral",
    '[TOOL_CALLS] [{"name": "weather", "arguments": {"city": "Oslo"}}, {"name":"add","arguments":{"a": 1, "b": [2, "}"]}}]',
    { calls: [oslo, two] },
  ],
  [
    "names first",
    "mistral",
    'Yes[TOOL_CALLS]weather{"city": "Oslo"}[TOOL_CALLS]add[ARGS]{"a": 1, "b": [2, "}"]}',
    { content: "Yes", calls: [oslo, two] },
  ],
  [
    "granite",
    "granite",
    '<|tool_call|>[{"name": "weather", "arguments": {"city": "Oslo"}}]',
    { calls: [oslo] },
  ],
  [
    "a block of code",
    "gemma",
    'Sure:\n```json\n{"name": "weather", "parameters": {"city": "Oslo"}}\n```\nWait.',
    { content: "Sure:Wait.", calls: [oslo] },
  ],
  ["a block of other code", "gemma", "```js\nf()\n```\n", { content: "```js\nf()\n```\n" }],
];

describe("ChatParser", () => {
  test.each(answers)("%s (%s)", (_, syntax, answer, expected) => {
    const message = { content: "", reasoning: "", calls: [], ...expected };
    expect(parse(withTools(toolSyntaxes[syntax]), [answer])).toEqual(message);
  });

  test.each(answers)("for every cut, the parts of %s (%s) add up to the same", (_, syntax, answer) => {
    const format = withTools(toolSyntaxes[syntax]);
    const whole = parse(format, [answer]);
    expect(parse(format, answer.split(""))).toEqual(whole);
    for (let first = 1; first < answer.length; first += 1) {
      expect(parse(format, [answer.slice(0, first), answer.slice(first)])).toEqual(whole);
    }
  });

  test("the law holds for texts put together at random from what could confuse it", () => {
    const pieces = [
      "<tool_call>",
      "</tool_call>",
      "[TOOL_CALLS]",
      "<|tool_call|>",
      "```json",
      "```",
      "<think>",
      "</think>",
    ];
    pieces.push(
      '{"name":"add",',
      '"arguments":{',
      '"a":"}"}',
      "}",
      "[",
      "]",
      ",",
      " ",
      "\n",
      "add",
      "[ARGS]",
      "{}",
      '"',
      "\\",
      "x",
    );
    const random = createRandom(7);
    const draw = (n: number): number => Math.floor(random() * n);
    for (let round = 0; round < 4000; round += 1) {
      const syntaxes = [...Object.values(toolSyntaxes), forcedSyntax];
      const format = withTools(syntaxes[draw(syntaxes.length)]!, 1 + draw(3));
      const text = Array.from({ length: 1 + draw(14) }, () => pieces[draw(pieces.length)]).join("");
      const cuts: string[] = [];
      for (let at = 0; at < text.length; ) {
        const length = 1 + draw(5);
        cuts.push(text.slice(at, at + length));
        at += length;
      }
      const startsInReasoning = draw(4) === 0;
      expect(parse({ ...format, startsInReasoning }, cuts), text).toEqual(
        parse({ ...format, startsInReasoning }, [text]),
      );
    }
  });

  test("gives arguments out as they come", () => {
    const parser = new ChatParser(withTools(toolSyntaxes.hermes));
    expect(parser.push('<tool_call>{"name": "add", "arguments": {"a"')).toEqual([
      { kind: "call", index: 0, name: "add" },
      { kind: "arguments", index: 0, text: '{"a"' },
    ]);
    expect(parser.push(": 1")).toEqual([{ kind: "arguments", index: 0, text: ": 1" }]);
  });

  test("leaves out the calls over the limit", () => {
    const call = '<tool_call>{"name":"add","arguments":{}}</tool_call>';
    expect(parse(withTools(toolSyntaxes.hermes, 1), [call + call]).calls).toHaveLength(1);
  });

  test("an answer may begin inside the reasoning", () => {
    const format = { reasoning: reasoningSyntaxes.think, startsInReasoning: true, calls: null };
    expect(parse(format, ["so\n", "</thi", "nk>\n\nYes </think>"])).toMatchObject({
      reasoning: "so",
      content: "Yes </think>",
    });
  });
});

test("a chat template tells the syntax of its calls and its reasoning", () => {
  expect(toolSyntaxOfTemplate("{% if tools %}<tool_call>{% endif %}")).toBe("hermes");
  expect(toolSyntaxOfTemplate("{% if tools %}[AVAILABLE_TOOLS][TOOL_CALLS]{% endif %}")).toBe("mistral");
  expect(toolSyntaxOfTemplate("{% if tools %}Environment: ipython{% endif %}")).toBe("llama3_json");
  expect(toolSyntaxOfTemplate("{{ tools }}")).toBe("gemma");
  expect(toolSyntaxOfTemplate("{{ messages }}<tool_call>")).toBeNull();
  expect(reasoningOfTemplate("{{ x }}</think>")).toBe("think");
  expect(reasoningOfTemplate("{{ x }}")).toBeNull();
});
