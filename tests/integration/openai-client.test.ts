import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type RunningServer, startServer } from "../../src/server/start-server.ts";
import { createServedFake, type ServedFake } from "../served-fake.ts";

const answer = "Grüße 🙂 aus der Mühle. Ende";

/** Most requests get the answer; those whose prompt says "long" get a long one. */
const fake: ServedFake = createServedFake({
  reply: ({ promptTokenIds }) => {
    const isLong = Buffer.from([...promptTokenIds]).includes("long");
    return [...new TextEncoder().encode(isLong ? "la ".repeat(400) : answer)];
  },
});

const vectors: ServedFake = createServedFake({ info: { embeddingSize: 3 } }, { id: "vectors" });

let server: RunningServer;
let openai: OpenAI;

beforeAll(async () => {
  server = await startServer({
    host: "127.0.0.1",
    port: 0,
    models: [fake.model, vectors.model],
    apiKeys: ["key"],
  });
  openai = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "key", maxRetries: 0 });
});

afterAll(() => server.close());

const messages = [{ role: "user" as const, content: "Hi" }];

describe("the official OpenAI client", () => {
  test("lists and retrieves models", async () => {
    const { data } = await openai.models.list();
    expect(data.map((model) => model.id)).toEqual(["fake", "vectors"]);
    expect(await openai.models.retrieve("fake")).toMatchObject({ object: "model" });
  });

  test("embeds texts, in the base64 that it asks for by itself and in numbers", async () => {
    const request = { model: "vectors", input: ["a", "bb"] };
    const { data, usage } = await openai.embeddings.create(request);
    const plain = await openai.embeddings.create({ ...request, encoding_format: "float" });
    expect(data.map(({ embedding }) => Array.from(embedding))).toEqual(
      plain.data.map(({ embedding }) => embedding),
    );
    expect(data[1]!.embedding).toHaveLength(3);
    expect(usage).toEqual({ prompt_tokens: 5, total_tokens: 5 });
  });

  test("completes a chat, whole and streamed, with the same text and usage", async () => {
    const whole = await openai.chat.completions.create({ model: "fake", messages });
    expect(whole.choices[0]).toMatchObject({
      message: { role: "assistant", content: answer },
      finish_reason: "stop",
    });
    const stream = await openai.chat.completions.create({
      model: "fake",
      messages,
      stream: true,
      stream_options: { include_usage: true },
    });
    let text = "";
    let role: string | undefined;
    let usage: unknown;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? "";
      role ??= chunk.choices[0]?.delta.role;
      usage = chunk.usage;
    }
    expect({ text, role, usage }).toEqual({ text: answer, role: "assistant", usage: whole.usage });
  });

  test("its stream helper puts the same message together", async () => {
    const stream = openai.chat.completions.stream({
      model: "fake",
      messages,
      logprobs: true,
      top_logprobs: 1,
    });
    const final = await stream.finalChatCompletion();
    expect(final.choices[0]?.message.content).toBe(answer);
    const bytes = final.choices[0]?.logprobs?.content?.flatMap((token) => token.bytes ?? []) ?? [];
    expect(Buffer.from(bytes).toString("utf8")).toBe(`${answer}</s>`);
  });

  test("completes a prompt, whole and streamed, with log-probabilities", async () => {
    const request = { model: "fake", prompt: "p", max_tokens: 40, logprobs: 2, stop: [" Ende"] };
    const whole = await openai.completions.create(request);
    expect(whole.choices[0]).toMatchObject({ text: "Grüße 🙂 aus der Mühle.", finish_reason: "stop" });
    let text = "";
    const tokens: string[] = [];
    for await (const chunk of await openai.completions.create({ ...request, stream: true })) {
      text += chunk.choices[0]?.text ?? "";
      tokens.push(...(chunk.choices[0]?.logprobs?.tokens ?? []));
    }
    expect(text).toBe(whole.choices[0]?.text);
    expect(tokens).toEqual(whole.choices[0]?.logprobs?.tokens);
    expect(whole.usage).toMatchObject({
      prompt_tokens: 2,
      total_tokens: 2 + (whole.usage?.completion_tokens ?? 0),
    });
  });

  test("leaving a stream aborts the request in the engine", async () => {
    const before = fake.client.abortedIds.length;
    const stream = await openai.chat.completions.create({
      model: "fake",
      messages: [{ role: "user", content: "long" }],
      stream: true,
    });
    for await (const chunk of stream) if (chunk.choices[0]?.delta.content !== "") break;
    while (server.numOpenRequests > 0) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(fake.client.abortedIds.length).toBe(before + 1);
    expect(await fake.client.stats()).toMatchObject({ numRunning: 0, numWaiting: 0 });
  });

  test("turns errors into its own classes", async () => {
    const refused = openai.chat.completions.create({ model: "fake", messages, temperature: 5 });
    await expect(refused).rejects.toThrow(OpenAI.BadRequestError);
    await expect(refused).rejects.toMatchObject({
      status: 400,
      param: "temperature",
      type: "BadRequestError",
    });
    await expect(openai.models.retrieve("nope")).rejects.toThrow(OpenAI.NotFoundError);
    const stranger = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "wrong", maxRetries: 0 });
    await expect(stranger.models.list()).rejects.toThrow(OpenAI.AuthenticationError);
  });
});
