import { describe, expect, test } from "vitest";
import { createByteTokenizer } from "../../../tests/byte-tokenizer.ts";
import { createServedFake, replying, type ServedFake } from "../../../tests/served-fake.ts";
import { readNamedEvents } from "../../../tests/served-stream.ts";
import { MillraceError } from "../../base/errors.ts";
import type { ChatTemplate } from "../../tokenizer/tokenizer.ts";
import { createServerApp } from "../app.ts";
import { ServerContext, type ServerOptions } from "../server-context.ts";

/** Shows tools, thinks, and shows all of a message. */
const template: ChatTemplate = {
  source: "{{ tools }} <tool_call> </think>",
  render: (messages, { tools, variables, addGenerationPrompt } = {}) =>
    JSON.stringify({ messages, tools, variables }) + (addGenerationPrompt === true ? "[assistant]" : ""),
};

const thinking = "<think>I ask.</think>";
const call = '<tool_call>{"name": "weather", "arguments": {"city": "Oslo"}}</tool_call>';
const weather = { name: "weather", input_schema: { type: "object" } };
const hello = { max_tokens: 500, messages: [{ role: "user", content: "Hi" }] };

function createFake(text: string, info = {}): ServedFake {
  const script = { ...replying(text), info: { maxModelLen: 8192, ...info } };
  return createServedFake(script, { tokenizer: createByteTokenizer({ chatTemplate: template }) });
}

interface Reply {
  readonly content: readonly Record<string, unknown>[];
  readonly usage: Readonly<Record<string, number>>;
  readonly [field: string]: unknown;
}

function post(fake: ServedFake, body: object, options: ServerOptions = {}, path = "/v1/messages") {
  const app = createServerApp(new ServerContext({ models: [fake.model], ...options }));
  return app.request(path, { method: "POST", body: JSON.stringify(body) });
}

async function ask(fake: ServedFake, body: object): Promise<Reply> {
  const response = await post(fake, { ...hello, ...body });
  expect(response.status).toBe(200);
  return (await response.json()) as Reply;
}

/** What the template got. */
function promptOf(fake: ServedFake): Record<string, unknown> {
  const text = Buffer.from([...(fake.client.requests.at(-1)?.promptTokenIds ?? [])]).toString("utf8");
  return JSON.parse(text.replace("[assistant]", "")) as Record<string, unknown>;
}

describe("POST /v1/messages", () => {
  test("answers with a message; what came from the cache is counted apart", async () => {
    const script = { ...replying("Hello!"), numCachedTokens: 5 };
    const fake = createServedFake(script);
    const answer = await ask(fake, {
      system: "Be short.",
      temperature: 0.5,
      top_k: 3,
      stop_sequences: ["!"],
    });
    expect(answer).toMatchObject({
      id: expect.stringMatching(/^msg_/),
      type: "message",
      role: "assistant",
      model: "fake",
      content: [{ type: "text", text: "Hello" }],
      stop_reason: "stop_sequence",
      stop_sequence: "!",
    });
    const numTokens = fake.client.requests[0]!.promptTokenIds.length;
    expect(answer.usage).toEqual({
      input_tokens: numTokens - 5,
      cache_creation_input_tokens: 0,
      cache_read_input_tokens: 5,
      output_tokens: 6,
    });
    expect(fake.client.requests[0]!.sampling).toMatchObject({ temperature: 0.5, topK: 3, maxTokens: 500 });
  });

  test("says why an answer ended", async () => {
    expect(await ask(createFake("abc"), {})).toMatchObject({ stop_reason: "end_turn", stop_sequence: null });
    expect(await ask(createFake("abc"), { max_tokens: 2 })).toMatchObject({ stop_reason: "max_tokens" });
    expect(await ask(createFake(call), { tools: [weather] })).toMatchObject({ stop_reason: "tool_use" });
  });

  test("shows the template a whole conversation in the words of chat", async () => {
    const fake = createFake("ok");
    await ask(fake, {
      system: [
        { type: "text", text: "One.", cache_control: { type: "ephemeral" } },
        { type: "text", text: "Two." },
      ],
      tools: [{ ...weather, description: "Asks." }],
      messages: [
        { role: "user", content: "Rain?" },
        {
          role: "assistant",
          content: [
            { type: "thinking", thinking: "Look.", signature: "" },
            { type: "redacted_thinking", data: "x" },
            { type: "text", text: "Let me see." },
            { type: "tool_use", id: "t1", name: "weather", input: { city: "Oslo" } },
          ],
        },
        {
          role: "user",
          content: [
            { type: "tool_result", tool_use_id: "t1", content: [{ type: "text", text: "wet" }] },
            { type: "text", text: "And" },
            { type: "text", text: "then?" },
          ],
        },
      ],
    });
    expect(promptOf(fake)).toEqual({
      variables: { enable_thinking: false },
      tools: [
        {
          type: "function",
          function: { name: "weather", description: "Asks.", parameters: { type: "object" } },
        },
      ],
      messages: [
        { role: "system", content: "One.\nTwo." },
        { role: "user", content: "Rain?" },
        {
          role: "assistant",
          content: "Let me see.",
          reasoning_content: "Look.",
          tool_calls: [
            { id: "t1", type: "function", function: { name: "weather", arguments: { city: "Oslo" } } },
          ],
        },
        { role: "tool", tool_call_id: "t1", content: "wet" },
        { role: "user", content: "And\nthen?" },
      ],
    });
  });

  test("goes on with what the assistant has begun", async () => {
    const fake = createServedFake(replying("x"));
    await ask(fake, { messages: [...hello.messages, { role: "assistant", content: "So far" }] });
    const text = Buffer.from([...fake.client.requests[0]!.promptTokenIds]).toString("utf8");
    expect(text).toMatch(/\[assistant\]So far$/);
  });

  test("gives thinking only where it was asked for, and tells the template", async () => {
    const fake = createFake(`${thinking}Yes.`);
    expect((await ask(fake, {})).content).toEqual([{ type: "text", text: "Yes." }]);
    const asked = await post(fake, { ...hello, thinking: { type: "enabled", budget_tokens: 1024 } });
    expect(asked.headers.get("x-millrace-warnings")).toBe("ignored fields: thinking.budget_tokens");
    expect(((await asked.json()) as Reply).content).toEqual([
      { type: "thinking", thinking: "I ask.", signature: "" },
      { type: "text", text: "Yes." },
    ]);
    expect(promptOf(fake)["variables"]).toEqual({ enable_thinking: true });
  });

  test("calls tools; arguments that were cut stay text", async () => {
    const whole = await ask(createFake(`Well. ${call}`), { tools: [weather] });
    expect(whole.content).toEqual([
      { type: "text", text: "Well." },
      { type: "tool_use", id: expect.stringMatching(/^toolu_/), name: "weather", input: { city: "Oslo" } },
    ]);
    const cut = await ask(createFake(call), { tools: [weather], max_tokens: call.indexOf("slo") });
    expect(cut.content).toEqual([
      { type: "tool_use", id: expect.any(String), name: "weather", input: {}, partial_json: '{"city": "O' },
    ]);
  });

  test("counts tokens as the request itself would", async () => {
    const fake = createFake("x");
    const prompt = { messages: hello.messages, system: "s", tools: [weather] };
    const counted = await post(fake, prompt, {}, "/v1/messages/count_tokens");
    await ask(fake, prompt);
    expect(await counted.json()).toEqual({ input_tokens: fake.client.requests[0]!.promptTokenIds.length });
  });
});

describe("a stream of messages", () => {
  test.each([1, 3, 1000])("adds up to the whole answer, %i tokens at a time", async (tokensPerOutput) => {
    const fake = createFake(`${thinking}Grüße 🙂 ${call}${call}`);
    const script = {
      ...replying(`${thinking}Grüße 🙂 ${call}${call}`),
      tokensPerOutput,
      info: { maxModelLen: 8192 },
    };
    const streamed = createServedFake(script, { tokenizer: fake.model.tokenizer });
    const body = { ...hello, tools: [weather], thinking: { type: "adaptive" } };
    const whole = await ask(fake, body);
    const response = await post(streamed, { ...body, stream: true });
    const events = readNamedEvents(await response.text());
    expect(events.every(({ name, data }) => name === data["type"])).toBe(true);
    expect(events[0]!.data["message"]).toMatchObject({
      content: [],
      stop_reason: null,
      usage: { output_tokens: 0 },
    });
    expect(events.slice(-2).map(({ name }) => name)).toEqual(["message_delta", "message_stop"]);
    expect(events.at(-2)!.data).toMatchObject({
      delta: { stop_reason: whole["stop_reason"], stop_sequence: null },
      usage: whole.usage,
    });
    const withoutIds = whole.content.map((block) =>
      "id" in block ? { ...block, id: expect.any(String) } : block,
    );
    expect(addUp(events.map(({ data }) => data))).toEqual(withoutIds);
  });

  test("an error after the first event is an event; one before has a status", async () => {
    const fail = (): Error => new MillraceError("engine_failed", "It broke.");
    const fakeAt = (at: number): ServedFake =>
      createServedFake({ ...replying("abc"), fail: (_, index) => (index === at ? fail() : undefined) });
    const late = readNamedEvents(await (await post(fakeAt(2), { ...hello, stream: true })).text());
    expect(late.at(-1)).toMatchObject({
      name: "error",
      data: { type: "error", error: { type: "api_error" } },
    });
    const early = await post(fakeAt(0), { ...hello, stream: true });
    expect(early.status).toBe(500);
    expect(await early.json()).toMatchObject({
      type: "error",
      error: { type: "api_error", message: "It broke." },
    });
  });
});

/** Blocks as a client puts them together, each between its start and its stop. */
function addUp(events: readonly Readonly<Record<string, unknown>>[]): Record<string, unknown>[] {
  const blocks: Record<string, unknown>[] = [];
  let json = "";
  for (const { type, index, content_block, delta } of events) {
    if (type === "content_block_start") {
      expect(index).toBe(blocks.length);
      blocks.push({ ...(content_block as object) });
      json = "";
    }
    const block = blocks.at(-1)!;
    const { text, thinking: thought, partial_json: part } = (delta ?? {}) as Record<string, string>;
    if (text !== undefined) block["text"] = `${String(block["text"])}${text}`;
    if (thought !== undefined) block["thinking"] = `${String(block["thinking"])}${thought}`;
    if (part !== undefined) json += part;
    if (type === "content_block_stop" && json !== "") block["input"] = JSON.parse(json);
  }
  return blocks;
}

describe("what is refused", () => {
  const refusals: [string, object][] = [
    ["max_tokens", { max_tokens: undefined }],
    ["temperature", { temperature: 1.5 }],
    ["messages[0].role", { messages: [{ role: "system", content: "x" }] }],
    ["messages[0].content[0].type", { messages: [{ role: "user", content: [{ type: "image" }] }] }],
    [
      "messages[0].content[0].tool_use_id",
      { messages: [{ role: "user", content: [{ type: "tool_result" }] }] },
    ],
    ["system[0].type", { system: [{ type: "image" }] }],
    ["tools[0].type", { tools: [{ type: "web_search_20250305", name: "web_search" }] }],
    ["tool_choice.name", { tools: [weather], tool_choice: { type: "tool" } }],
    ["stop_sequences[0]", { stop_sequences: [""] }],
    ["mcp_servers", { mcp_servers: [{ url: "x" }] }],
  ];
  test.each(refusals)("%s", async (param, body) => {
    const response = await post(createFake("x"), { ...hello, ...body });
    expect(response.status).toBe(400);
    const { type, error } = (await response.json()) as { type: string; error: Record<string, string> };
    expect({ type, kind: error["type"], param: error["param"] }).toEqual({
      type: "error",
      kind: "invalid_request_error",
      param,
    });
    expect(error["message"]).toContain(`The field ${param} `);
  });

  test("is told in Anthropic's words, whatever it is", async () => {
    const fake = createFake("x");
    const unknown = await post(fake, { ...hello, model: "nope" });
    expect(await unknown.json()).toMatchObject({ error: { type: "not_found_error" } });
    const stranger = await post(fake, hello, { apiKeys: ["key"] });
    expect(stranger.status).toBe(401);
    expect(await stranger.json()).toMatchObject({
      error: { type: "authentication_error" },
      request_id: stranger.headers.get("x-request-id"),
    });
    const app = createServerApp(new ServerContext({ models: [fake.model], apiKeys: ["key"] }));
    const headers = { "x-api-key": "key" };
    const known = await app.request("/v1/messages", { method: "POST", body: JSON.stringify(hello), headers });
    expect(known.status).toBe(200);
  });
});
