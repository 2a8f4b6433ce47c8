import { describe, expect, test } from "vitest";
import { createByteTokenizer, lineTemplate } from "../../../tests/byte-tokenizer.ts";
import { createServedFake, readEvents, replying, type ServedFake } from "../../../tests/served-fake.ts";
import { createServerApp } from "../app.ts";
import { ServerContext } from "../server-context.ts";

interface Choice {
  readonly index: number;
  readonly delta: { readonly role?: string; readonly content?: string };
  readonly message: { readonly content: string };
  readonly logprobs: { readonly content: unknown[] } | null;
  readonly finish_reason: string | null;
}

interface Answer {
  readonly choices: Choice[];
  readonly usage?: unknown;
  readonly error?: { readonly param: string; readonly message: string; readonly reason: string };
}

const hello = [{ role: "user", content: "Hi" }];

async function post(fake: ServedFake, body: object, path = "/v1/chat/completions"): Promise<Response> {
  const app = createServerApp(new ServerContext({ models: [fake.model] }));
  return app.request(path, { method: "POST", body: JSON.stringify(body) });
}

async function chat(fake: ServedFake, body: object): Promise<Answer> {
  return (await (await post(fake, body)).json()) as Answer;
}

function promptText(fake: ServedFake): string {
  return Buffer.from([...(fake.client.requests.at(-1)?.promptTokenIds ?? [])]).toString("utf8");
}

describe("POST /v1/chat/completions", () => {
  test("renders the messages and lets the answer take the rest of the context", async () => {
    const fake = createServedFake(replying("Hello!"));
    const answer = await chat(fake, { messages: hello });
    expect(answer).toMatchObject({ object: "chat.completion", id: expect.stringMatching(/^chatcmpl-/) });
    expect(answer.choices).toMatchObject([
      {
        index: 0,
        message: { role: "assistant", content: "Hello!" },
        finish_reason: "stop",
        stop_reason: null,
      },
    ]);
    expect(promptText(fake)).toBe("[user]Hi\n[assistant]");
    expect(fake.client.requests[0]?.sampling.maxTokens).toBe(2048 - 20);
    expect(answer.usage).toMatchObject({ prompt_tokens: 20, completion_tokens: 7, total_tokens: 27 });
  });

  test("a developer is the system to a template that does not know developers", async () => {
    const messages = [{ role: "developer", content: "Be brief." }, ...hello];
    const plain = createServedFake(replying("x"));
    await chat(plain, { messages });
    expect(promptText(plain)).toBe("[system]Be brief.\n[user]Hi\n[assistant]");
    const chatTemplate = { ...lineTemplate, source: "system or developer" };
    const tokenizer = createByteTokenizer({ chatTemplate });
    const knowing = createServedFake(replying("x"), { tokenizer });
    await chat(knowing, { messages });
    expect(promptText(knowing)).toBe("[developer]Be brief.\n[user]Hi\n[assistant]");
  });

  test("joins text parts, passes template variables and can go on from the last message", async () => {
    const fake = createServedFake(replying("x"));
    const parts = [
      { type: "text", text: "a" },
      { type: "text", text: "b" },
    ];
    await chat(fake, {
      messages: [{ role: "user", content: parts }],
      chat_template_kwargs: { think: false },
    });
    expect(promptText(fake)).toBe("{think=false}[user]a\nb\n[assistant]");
    const messages = [...hello, { role: "assistant", content: " So far " }];
    await chat(fake, { messages, continue_final_message: true });
    expect(promptText(fake)).toBe("[user]Hi\n[assistant] So far ");
  });

  test("tells the template how much to think; what the request sets beats the server's defaults", async () => {
    const templateDefaults = { enable_thinking: false, style: "plain" };
    const fake = createServedFake(replying("x"), { templateDefaults });
    const variablesOf = async (body: object): Promise<string> => {
      await chat(fake, { messages: hello, ...body });
      return promptText(fake).replace(/\[.*/s, "");
    };
    expect(await variablesOf({})).toBe("{enable_thinking=false}{style=plain}");
    expect(await variablesOf({ reasoning_effort: "low" })).toBe(
      "{enable_thinking=true}{style=plain}{reasoning_effort=low}",
    );
    expect(await variablesOf({ reasoning_effort: "none", chat_template_kwargs: { style: "b" } })).toBe(
      "{enable_thinking=false}{style=b}{reasoning_effort=none}",
    );
    expect((await chat(fake, { messages: hello, reasoning_effort: "a lot" })).error?.param).toBe(
      "reasoning_effort",
    );
  });

  test("streams role, content, finish and usage; together they are the whole answer", async () => {
    const body = { messages: hello, n: 2, logprobs: true, top_logprobs: 2, stop: ["!"], seed: 3 };
    const script = replying("Grüße 🙂 世界!");
    const whole = await chat(createServedFake(script), body);
    const response = await post(createServedFake(script), {
      ...body,
      stream: true,
      stream_options: { include_usage: true },
    });
    const chunks = readEvents(await response.text()) as Answer[];
    expect(chunks.at(-1)).toMatchObject({ object: "chat.completion.chunk", choices: [], usage: whole.usage });
    for (const choice of whole.choices) {
      const pieces = chunks.flatMap((chunk) => chunk.choices).filter((piece) => piece.index === choice.index);
      expect(pieces[0]?.delta).toEqual({ role: "assistant", content: "" });
      expect(pieces.map((piece) => piece.delta.content ?? "").join("")).toBe(choice.message.content);
      expect(pieces.flatMap((piece) => piece.logprobs?.content ?? [])).toEqual(choice.logprobs?.content);
      expect(pieces.at(-1)).toMatchObject({ delta: {}, finish_reason: "stop", stop_reason: "!" });
      expect(pieces.slice(0, -1).every((piece) => piece.finish_reason === null)).toBe(true);
    }
    expect(whole.choices[0]?.message.content).toBe("Grüße 🙂 世界");
  });

  test("gives every token with its bytes and alternatives", async () => {
    const body = { messages: hello, logprobs: true, top_logprobs: 2, max_tokens: 1 };
    const answer = await chat(createServedFake(replying("A")), body);
    expect(answer.choices[0]?.logprobs?.content).toEqual([
      {
        token: "A",
        logprob: -Math.LN2,
        bytes: [65],
        top_logprobs: [
          { token: "A", logprob: -Math.LN2, bytes: [65] },
          { token: "B", logprob: -2 * Math.LN2, bytes: [66] },
        ],
      },
    ]);
  });

  test("gives the log-probabilities of the prompt beside the choices, null first", async () => {
    const fake = createServedFake(replying("ok"));
    const answer = await chat(fake, { messages: hello, prompt_logprobs: 1, max_tokens: 1 });
    const { prompt_logprobs: scores } = answer as unknown as { prompt_logprobs: (object | null)[] };
    const promptIds = fake.client.requests[0]!.promptTokenIds;
    expect(scores).toHaveLength(promptIds.length);
    expect(scores[0]).toBeNull();
    expect(scores[1]).toMatchObject({ [promptIds[1]!]: { logprob: -1, rank: 1 } });
  });

  test("parses the arguments of earlier tool calls for the template", async () => {
    const call = (args: string): object => ({
      messages: [...hello, { role: "assistant", tool_calls: [{ function: { name: "f", arguments: args } }] }],
    });
    expect((await post(createServedFake(), call('{"a":1}'))).status).toBe(200);
    const { error } = await chat(createServedFake(), call("{"));
    expect(error?.param).toBe("messages[1].tool_calls[0].function.arguments");
  });

  const image = [{ type: "image_url", image_url: { url: "x" } }];
  const refused: [string, object][] = [
    ["messages", { messages: [] }],
    ["messages", { messages: "Hi" }],
    ["messages[0].role", { messages: [{ content: "Hi" }] }],
    ["messages[0].content", { messages: [{ role: "user", content: 5 }] }],
    ["messages[0].content", { messages: [{ role: "user", content: null }] }],
    ["messages[0].content", { messages: [{ role: "user" }] }],
    ["messages", { messages: [{ role: "user", content: "a\ud800b" }] }],
    ["max_tokens", { messages: [{ role: "user", content: "a" }], max_tokens: 3, max_completion_tokens: 4 }],
    ["messages[0].content[0].type", { messages: [{ role: "user", content: image }] }],
    ["tools[0].function", { tools: [{ type: "function" }] }],
    ["tools[0].function.name", { tools: [{ type: "function", function: { name: "a b" } }] }],
    ["tools", { tools: [{ type: "function", function: { name: "a" } }] }],
    ["tool_choice", { tool_choice: "required" }],
    ["tool_choice", { tool_choice: "required" }],
    ["response_format", { response_format: { type: "json_object" } }],
    ["frequency_penalty", { frequency_penalty: 2.5 }],
    ["reasoning_effort", { reasoning_effort: "a lot" }],
    ["top_logprobs", { top_logprobs: 2 }],
    ["top_logprobs", { logprobs: true, top_logprobs: 21 }],
    ["max_completion_tokens", { max_completion_tokens: 0 }],
    ["chat_template_kwargs.messages", { chat_template_kwargs: { messages: [] } }],
    ["continue_final_message", { continue_final_message: true, add_generation_prompt: true }],
    ["max_tokens", { max_tokens: 2040 }],
    ["max_completion_tokens", { max_completion_tokens: 2040 }],
    ["messages", { messages: [{ role: "user", content: "a".repeat(2100) }] }],
    ["messages[1].content", { messages: [...hello, { role: "user", content: {} }] }],
    ["messages[0].content[1]", { messages: [{ role: "user", content: [{ type: "text", text: "a" }, 7] }] }],
    ["messages[0].content[0].text", { messages: [{ role: "user", content: [{ type: "text" }] }] }],
    ["messages[0].content[0].type", { messages: [{ role: "user", content: [{}] }] }],
    ["messages[0]", { messages: ["Hi"] }],
    ["messages[0].role", { messages: [{ role: "robot", content: "Hi" }] }],
    ["messages[0].tool_calls", { messages: [{ role: "assistant", tool_calls: {} }] }],
    ["messages[0].tool_calls[0].function", { messages: [{ role: "assistant", tool_calls: [{}] }] }],
  ];
  for (const [param, body] of refused) {
    test(`refuses ${JSON.stringify(body).slice(0, 60)} and names ${param}`, async () => {
      const fake = createServedFake();
      const response = await post(fake, { messages: hello, ...body });
      expect(response.status).toBe(400);
      expect(((await response.json()) as Answer).error?.param).toBe(param);
      expect(fake.client.requests).toHaveLength(0);
    });
  }

  test("a model without a chat template says so", async () => {
    const fake = createServedFake({}, { tokenizer: createByteTokenizer({ chatTemplate: null }) });
    expect((await chat(fake, { messages: hello })).error?.reason).toBe("no_chat_template");
  });
});

describe("POST /tokenize and /detokenize", () => {
  test("take a prompt or messages, and back", async () => {
    const fake = createServedFake();
    const byPrompt = await (await post(fake, { prompt: "Hi", return_token_strs: true }, "/tokenize")).json();
    expect(byPrompt).toEqual({
      count: 3,
      max_model_len: 2048,
      tokens: [257, 72, 105],
      token_strs: ["<s>", "<0x48>", "<0x69>"],
    });
    expect(await (await post(fake, { messages: hello }, "/tokenize")).json()).toMatchObject({ count: 20 });
    expect(await (await post(fake, { tokens: [257, 72, 105] }, "/detokenize")).json()).toEqual({
      prompt: "<s>Hi",
    });
    expect((await post(fake, { prompt: "a", messages: hello }, "/tokenize")).status).toBe(400);
    expect((await post(fake, { tokens: [512] }, "/detokenize")).status).toBe(400);
  });

  test("come with what a harness without a tokenizer needs to know", async () => {
    const fake = createServedFake();
    const app = createServerApp(new ServerContext({ models: [fake.model] }));
    const info = await (await app.request("/tokenizer_info")).json();
    expect(info).toEqual({
      bos_token: "<s>",
      eos_token: "</s>",
      pad_token: null,
      chat_template: fake.model.tokenizer.chatTemplate!.source,
      model_max_length: 2048,
    });
  });
});
