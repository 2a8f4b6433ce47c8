import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Engine } from "../../src/embedded-engine.ts";
import { GrammarPool } from "../../src/grammar/grammar-pool.ts";
import { type RunningServer, startServer } from "../../src/server/start-server.ts";
import { ScoreMemory } from "../../src/text/score-memory.ts";
import type { ChatTemplate } from "../../src/tokenizer/tokenizer.ts";
import { createByteTokenizer } from "../byte-tokenizer.ts";
import { createServedFake } from "../served-fake.ts";
import { repositoryPath } from "../test-data.ts";

/** Shows tools, as the templates of Qwen and Hermes do, and lets the model think. */
const template: ChatTemplate = {
  source: "{{ tools }} <tool_call> </think>",
  render: (messages, options = {}) =>
    `${options.tools === null || options.tools === undefined ? "" : JSON.stringify(options.tools)}\n` +
    messages.map(({ role, content }) => `[${role}]${content ?? ""}\n`).join(""),
};

const parameters = {
  type: "object",
  properties: { city: { $ref: "#/$defs/name" }, days: { type: "integer", minimum: 1, maximum: 9 } },
  required: ["city", "days"],
  additionalProperties: false,
  $defs: { name: { type: "string", maxLength: 12 } },
} as const;
const weather = { type: "function", function: { name: "weather", parameters } } as const;
const stop = { type: "function", function: { name: "stop" } } as const;
const messages = [{ role: "user" as const, content: "Will it rain in Oslo?" }];

const thought = "<think>\nI ask for it.\n</think>\n\n";
const call = '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo", "days": 2}}\n</tool_call>';

/** Calls the tool, and answers when the prompt has what it said. */
const fake = createServedFake(
  {
    reply: ({ promptTokenIds }) => {
      const isTold = Buffer.from([...promptTokenIds]).includes("[tool]");
      return [...new TextEncoder().encode(isTold ? "Rain 🌧 tomorrow." : `${thought}Let me see.\n${call}`)];
    },
  },
  { tokenizer: createByteTokenizer({ chatTemplate: template }) },
);

interface Call {
  readonly type: string;
  readonly function: { readonly name: string; readonly arguments: string };
}

let engine: Engine;
let grammars: GrammarPool;
let server: RunningServer;
let openai: OpenAI;

beforeAll(async () => {
  engine = await Engine.load(repositoryPath("models/pebble/model"), { maxModelLen: 1024 });
  const { client } = engine;
  const tokenizer = engine.tokenizer!;
  const { vocabSize, eosTokenIds: endTokenIds } = client.info;
  grammars = new GrammarPool({ tokenizer, vocabSize, endTokenIds });
  const pebble = {
    id: "pebble",
    client,
    tokenizer,
    grammars,
    promptScorer: new ScoreMemory(client),
    created: 0,
    generationDefaults: {},
    chatTemplate: template,
  };
  server = await startServer({ host: "127.0.0.1", port: 0, models: [fake.model, pebble], apiKeys: [] });
  openai = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "none", maxRetries: 0 });
});

afterAll(async () => {
  await server.close();
  await grammars.close();
  await engine.close();
});

describe("the official OpenAI client", () => {
  test("gets calls and reasoning apart from the content, whole and streamed", async () => {
    const request = { model: "fake", messages, tools: [weather] };
    const { choices, usage } = await openai.chat.completions.create(request);
    expect(usage?.completion_tokens_details).toEqual({ reasoning_tokens: "I ask for it.".length });
    expect(choices[0]).toMatchObject({
      finish_reason: "tool_calls",
      message: {
        content: "Let me see.",
        reasoning: "I ask for it.",
        reasoning_content: "I ask for it.",
        tool_calls: [
          { type: "function", function: { name: "weather", arguments: '{"city": "Oslo", "days": 2}' } },
        ],
      },
    });
    const stream_options = { include_usage: true };
    const streamed = await openai.chat.completions
      .stream({ ...request, stream_options })
      .finalChatCompletion();
    expect(streamed.usage).toEqual(usage);
    const { message, finish_reason } = streamed.choices[0]!;
    expect(finish_reason).toBe("tool_calls");
    expect(message.content).toBe("Let me see.");
    expect(message.tool_calls).toMatchObject([
      { type: "function", function: { name: "weather", arguments: '{"city": "Oslo", "days": 2}' } },
    ]);
    expect(message.tool_calls![0]!.id).toMatch(/^call_/);
  });

  test("runs a tool and gets the answer", async () => {
    const asked: unknown[] = [];
    const tool = {
      type: "function" as const,
      function: {
        name: "weather",
        description: "The weather of the next days",
        parameters: { ...parameters, required: [...parameters.required] },
        function: (argument: string) => {
          asked.push(JSON.parse(argument));
          return "rain";
        },
      },
    };
    const runner = openai.chat.completions.runTools({ model: "fake", messages, tools: [tool], stream: true });
    expect(await runner.finalContent()).toBe("Rain 🌧 tomorrow.");
    expect(asked).toEqual([{ city: "Oslo", days: 2 }]);
  });

  test("with none, calls are neither shown nor looked for; reasoning can be left out", async () => {
    const request = {
      model: "fake",
      messages,
      tools: [weather],
      tool_choice: "none" as const,
      include_reasoning: false,
    };
    const { choices } = await openai.chat.completions.create(request);
    expect(choices[0]!.message).toMatchObject({ content: `Let me see.\n${call}` });
    expect(choices[0]!.message).not.toHaveProperty("reasoning");
    const prompt = Buffer.from([...fake.client.requests.at(-1)!.promptTokenIds]).toString("utf8");
    expect(prompt).not.toContain("weather");
  });
});

describe("a model that must call", () => {
  const sampling = { model: "pebble", messages, max_tokens: 200, temperature: 1 };

  function check({ function: called }: Call): void {
    const argument = JSON.parse(called.arguments) as { readonly city?: string; readonly days?: number };
    if (called.name === "stop") expect(argument).toEqual({});
    else {
      expect(Object.keys(argument)).toEqual(["city", "days"]);
      expect(argument.city!.length).toBeLessThanOrEqual(12);
      expect(argument.days).toBeGreaterThanOrEqual(1);
      expect(argument.days).toBeLessThanOrEqual(9);
    }
  }

  test("required: one of the tools, with arguments of its schema, whole and streamed the same", async () => {
    const names = new Set<string>();
    for (let seed = 0; seed < 12; seed += 1) {
      const tools = [weather, stop];
      const request = {
        ...sampling,
        seed,
        tools,
        tool_choice: "required" as const,
        parallel_tool_calls: false,
      };
      const { choices } = await openai.chat.completions.create(request);
      expect(choices[0]!.finish_reason).toBe("tool_calls");
      expect(choices[0]!.message.content).toBeNull();
      const calls = choices[0]!.message.tool_calls as Call[];
      expect(calls).toHaveLength(1);
      check(calls[0]!);
      names.add(calls[0]!.function.name);
      const streamed = await openai.chat.completions.stream(request).finalChatCompletion();
      const again = streamed.choices[0]!.message.tool_calls as unknown as Call[];
      expect(again.map((each) => each.function)).toEqual(calls.map((each) => each.function));
    }
    expect(names).toEqual(new Set(["weather", "stop"]));
  });

  test("a named tool: its arguments and nothing else", async () => {
    const tool_choice = { type: "function" as const, function: { name: "weather" } };
    const request = { ...sampling, seed: 3, tools: [stop, weather], tool_choice };
    const { choices } = await openai.chat.completions.create(request);
    const calls = choices[0]!.message.tool_calls as Call[];
    expect(calls.map((each) => each.function.name)).toEqual(["weather"]);
    check(calls[0]!);
    expect(choices[0]!.finish_reason).toBe("stop");
  });

  test("refuses a schema that it cannot hold, a tool that is not there, and two forms", async () => {
    const odd = {
      type: "function" as const,
      function: { name: "odd", parameters: { type: "object", patternProperties: {} } },
    };
    const required = { ...sampling, tool_choice: "required" as const };
    await expect(openai.chat.completions.create({ ...required, tools: [odd] })).rejects.toMatchObject({
      status: 400,
    });
    const other = { type: "function" as const, function: { name: "other" } };
    await expect(
      openai.chat.completions.create({ ...sampling, tools: [weather], tool_choice: other }),
    ).rejects.toMatchObject({ status: 400, param: "tool_choice.function.name" });
    const format = { type: "json_object" as const };
    await expect(
      openai.chat.completions.create({ ...required, tools: [weather], response_format: format }),
    ).rejects.toMatchObject({ status: 400, param: "response_format" });
  });
});
