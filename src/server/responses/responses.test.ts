import { describe, expect, test } from "vitest";
import { createByteTokenizer } from "../../../tests/byte-tokenizer.ts";
import { createServedFake, replying, type ServedFake } from "../../../tests/served-fake.ts";
import { readNamedEvents } from "../../../tests/served-stream.ts";
import { MillraceError } from "../../base/errors.ts";
import type { ChatTemplate } from "../../tokenizer/tokenizer.ts";
import { createServerApp } from "../app.ts";
import { ServerContext } from "../server-context.ts";

/** Shows tools, thinks, and shows all of a message. */
const template: ChatTemplate = {
  source: "{{ tools }} <tool_call> </think>",
  render: (messages, { tools } = {}) => JSON.stringify({ messages, tools }),
};

const thinking = "<think>I ask.</think>";
const call = '<tool_call>{"name": "weather", "arguments": {"city": "Oslo"}}</tool_call>';
const weather = { type: "function", name: "weather", parameters: { type: "object" } };

function createFake(text: string, tokensPerOutput = 1): ServedFake {
  const script = { ...replying(text), tokensPerOutput, info: { maxModelLen: 8192 } };
  return createServedFake(script, { tokenizer: createByteTokenizer({ chatTemplate: template }) });
}

interface Reply {
  readonly output: readonly Record<string, unknown>[];
  readonly [field: string]: unknown;
}

function post(fake: ServedFake, body: object): Promise<Response> | Response {
  const app = createServerApp(new ServerContext({ models: [fake.model] }));
  return app.request("/v1/responses", { method: "POST", body: JSON.stringify({ input: "Hi", ...body }) });
}

async function ask(fake: ServedFake, body: object = {}): Promise<Reply> {
  const response = await post(fake, body);
  expect(response.status).toBe(200);
  return (await response.json()) as Reply;
}

function promptOf(fake: ServedFake): unknown {
  const ids = [...(fake.client.requests.at(-1)?.promptTokenIds ?? [])];
  return JSON.parse(Buffer.from(ids).toString("utf8"));
}

const id = expect.any(String) as unknown;

describe("POST /v1/responses", () => {
  test("answers with items of reasoning, text and calls, and counts the reasoning", async () => {
    const answer = await ask(createFake(`${thinking}Yes. ${call}`), { tools: [weather] });
    expect(answer).toMatchObject({
      id: expect.stringMatching(/^resp_/),
      object: "response",
      status: "completed",
      store: false,
      usage: { output_tokens_details: { reasoning_tokens: "I ask.".length } },
    });
    const content = [{ type: "output_text", text: "Yes.", annotations: [], logprobs: [] }];
    expect(answer.output).toEqual([
      {
        id,
        type: "reasoning",
        status: "completed",
        summary: [],
        content: [{ type: "reasoning_text", text: "I ask." }],
      },
      { id, type: "message", status: "completed", role: "assistant", content },
      {
        id,
        type: "function_call",
        status: "completed",
        call_id: expect.stringMatching(/^call_/),
        name: "weather",
        arguments: '{"city": "Oslo"}',
      },
    ]);
  });

  test("says that an answer was cut", async () => {
    expect(await ask(createFake("abcdef"), { max_output_tokens: 3 })).toMatchObject({
      status: "incomplete",
      incomplete_details: { reason: "max_output_tokens" },
      output: [{ status: "incomplete" }],
      usage: { output_tokens: 3 },
    });
  });

  test("shows the template a whole conversation in the words of chat", async () => {
    const fake = createFake("ok");
    await ask(fake, {
      instructions: "Be short.",
      tools: [weather],
      input: [
        { role: "developer", content: "Be kind." },
        { type: "message", role: "user", content: [{ type: "input_text", text: "Rain?" }] },
        { type: "reasoning", summary: [], content: [{ type: "reasoning_text", text: "Look." }] },
        { type: "message", role: "assistant", content: [{ type: "output_text", text: "Let me see." }] },
        { type: "function_call", call_id: "c1", name: "weather", arguments: '{"city": "Oslo"}' },
        { type: "function_call_output", call_id: "c1", output: "wet" },
      ],
    });
    expect(promptOf(fake)).toEqual({
      tools: [{ type: "function", function: { name: "weather", parameters: { type: "object" } } }],
      messages: [
        { role: "system", content: "Be short.\n\nBe kind." },
        { role: "user", content: "Rain?" },
        {
          role: "assistant",
          content: "Let me see.",
          reasoning_content: "Look.",
          tool_calls: [
            { id: "c1", type: "function", function: { name: "weather", arguments: { city: "Oslo" } } },
          ],
        },
        { role: "tool", tool_call_id: "c1", content: "wet" },
      ],
    });
  });

  test.each([1, 3, 1000])("streams what adds up to the whole answer, %i tokens at a time", async (size) => {
    const text = `${thinking}Grüße 🙂 ${call}${call}`;
    const body = { tools: [weather], metadata: { a: "b" } };
    const whole = await ask(createFake(text), body);
    const events = readNamedEvents(
      await (await post(createFake(text, size), { ...body, stream: true })).text(),
    );
    expect(events.map(({ data }) => data["sequence_number"])).toEqual([...events.keys()]);
    expect(events.every(({ name, data }) => name === data["type"])).toBe(true);
    expect(events.slice(0, 2).map(({ name }) => name)).toEqual(["response.created", "response.in_progress"]);
    const last = events.at(-1)!;
    expect(last.name).toBe("response.completed");
    const anyIds = (item: object): object =>
      Object.fromEntries(Object.entries(item).map(([key, value]) => [key, key.endsWith("id") ? id : value]));
    const expected = { ...whole, id, created_at: expect.any(Number), output: whole.output.map(anyIds) };
    expect(last.data["response"]).toEqual(expected);
    const { output } = last.data["response"] as Reply;
    const done = events.filter(({ name }) => name === "response.output_item.done");
    expect(done.map(({ data }) => data["item"])).toEqual(output);
    for (const [index, item] of output.entries()) {
      const ofItem = events.filter(({ data }) => data["item_id"] === item["id"]);
      expect(ofItem.every(({ data }) => data["output_index"] === index)).toBe(true);
      const deltas = ofItem.filter(({ name }) => name.endsWith(".delta")).map(({ data }) => data["delta"]);
      const parts = item["content"] as { text: string }[] | undefined;
      expect(deltas.join("")).toBe(parts === undefined ? item["arguments"] : parts[0]!.text);
    }
  });

  test("an error after the first event fails the response", async () => {
    const fail = (_: unknown, index: number): Error | undefined =>
      index === 2 ? new MillraceError("engine_failed", "It broke.") : undefined;
    const fake = createServedFake({ ...replying("abc"), fail });
    const events = readNamedEvents(await (await post(fake, { stream: true })).text());
    expect(events.at(-1)).toMatchObject({
      name: "response.failed",
      data: { response: { status: "failed", error: { code: "server_error", message: "It broke." } } },
    });
  });

  test("gives log-probabilities of its text where they are asked for, whole and streamed", async () => {
    const body = { include: ["message.output_text.logprobs", "other"], top_logprobs: 2 };
    const whole = await ask(createFake("ab"), body);
    const [part] = whole.output[0]!["content"] as [
      { logprobs: { token: string; top_logprobs: unknown[] }[] },
    ];
    expect(part.logprobs.map(({ token }) => token)).toEqual(["a", "b"]);
    expect(part.logprobs[0]!.top_logprobs).toHaveLength(2);
    const response = await post(createFake("ab"), { ...body, stream: true });
    expect(response.headers.get("x-millrace-warnings")).toBe("ignored fields: include.other");
    const events = readNamedEvents(await response.text());
    const deltas = events.filter(({ name }) => name === "response.output_text.delta");
    expect(deltas.flatMap(({ data }) => data["logprobs"])).toEqual(part.logprobs);
    const done = events.find(({ name }) => name === "response.output_text.done");
    expect(done?.data["logprobs"]).toEqual(part.logprobs);
  });

  test("an effort of reasoning is told back", async () => {
    expect(await ask(createFake("x"), { reasoning: { effort: "low" } })).toMatchObject({
      reasoning: { effort: "low" },
    });
  });

  test("fields without an effect are listed", async () => {
    const response = await post(createFake("x"), {
      store: true,
      include: [],
      frob: 1,
      truncation: "disabled",
    });
    expect(response.headers.get("x-millrace-warnings")).toBe("ignored fields: store, frob");
  });
});

const refusals: [string, object][] = [
  ["input", { input: [] }],
  ["input[0].type", { input: [{ type: "item_reference", id: "x" }] }],
  ["input[0].role", { input: [{ content: "x" }] }],
  ["input[0].content[0].type", { input: [{ role: "user", content: [{ type: "input_image" }] }] }],
  ["input[0].arguments", { input: [{ type: "function_call", call_id: "c", name: "f" }] }],
  ["previous_response_id", { previous_response_id: "resp_1" }],
  ["background", { background: true }],
  ["truncation", { truncation: "auto" }],
  ["tools[0].type", { tools: [{ type: "web_search" }] }],
  ["max_output_tokens", { max_output_tokens: 100_000 }],
  ["input", { input: "long ".repeat(5000) }],
  ["text.format", { text: { format: { type: "json_object" } } }],
  ["text.format.schema", { text: { format: { type: "json_schema" } } }],
];
test.each(refusals)("refuses %s", async (param, body) => {
  const response = await post(createFake("x"), body);
  expect(response.status).toBe(400);
  const { error } = (await response.json()) as { error: Record<string, string> };
  expect(error["param"]).toBe(param);
  expect(error["message"]).not.toMatch(/messages|completion_tokens|response_format/);
});
