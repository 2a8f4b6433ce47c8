import Anthropic from "@anthropic-ai/sdk";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type RunningServer, startServer } from "../../src/server/start-server.ts";
import { afterwards, createThinkingFake, weatherParameters } from "../think-and-call.ts";

const fake = createThinkingFake();

let server: RunningServer;
let anthropic: Anthropic;

beforeAll(async () => {
  server = await startServer({ host: "127.0.0.1", port: 0, models: [fake.model], apiKeys: ["key"] });
  anthropic = new Anthropic({ baseURL: server.url, apiKey: "key", maxRetries: 0 });
});

afterAll(() => server.close());

const messages: Anthropic.MessageParam[] = [{ role: "user", content: "Will it rain in Oslo?" }];
const tools: Anthropic.Tool[] = [
  { name: "weather", description: "Asks.", input_schema: { ...weatherParameters } },
];
const request = { model: "fake", max_tokens: 4000, messages };
const thinking = { type: "enabled", budget_tokens: 1024 } as const;

describe("the official Anthropic client", () => {
  test("gets a message, and the same one streamed", async () => {
    const whole = await anthropic.messages.create({ ...request, thinking, system: "Be kind." });
    expect(whole.content).toEqual([
      { type: "thinking", thinking: "I ask for it.", signature: "" },
      { type: "text", text: "Hello 🙂" },
    ]);
    expect(whole).toMatchObject({ role: "assistant", stop_reason: "end_turn", model: "fake" });
    const stream = anthropic.messages.stream({ ...request, thinking, system: "Be kind." });
    const texts: string[] = [];
    const thoughts: string[] = [];
    stream.on("text", (text) => texts.push(text)).on("thinking", (text) => thoughts.push(text));
    const final = await stream.finalMessage();
    expect(final.content).toEqual(whole.content);
    expect(final.usage).toMatchObject(whole.usage);
    expect([texts.join(""), thoughts.join("")]).toEqual(["Hello 🙂", "I ask for it."]);
  });

  test("calls a tool and tells its result, whole and streamed", async () => {
    const whole = await anthropic.messages.create({ ...request, tools });
    expect(whole.stop_reason).toBe("tool_use");
    const final = await anthropic.messages.stream({ ...request, tools }).finalMessage();
    const call = final.content.find((block) => block.type === "tool_use");
    expect(call).toMatchObject({ name: "weather", input: { city: "Oslo" } });
    expect(final.content.map(({ type }) => type)).toEqual(whole.content.map(({ type }) => type));
    const told = await anthropic.messages.create({
      ...request,
      tools,
      messages: [
        ...messages,
        { role: "assistant", content: final.content },
        { role: "user", content: [{ type: "tool_result", tool_use_id: call!.id, content: "wet" }] },
      ],
    });
    expect(told.content).toEqual([{ type: "text", text: afterwards }]);
  });

  test("counts tokens as a message uses them", async () => {
    const { input_tokens } = await anthropic.messages.countTokens({ model: "fake", messages, tools });
    const { usage } = await anthropic.messages.create({ ...request, tools });
    expect(input_tokens).toBe(usage.input_tokens);
  });

  test("lists and retrieves models", async () => {
    const { data } = await anthropic.models.list();
    expect(data.map(({ id, type }) => [id, type])).toEqual([["fake", "model"]]);
    expect(await anthropic.models.retrieve("fake")).toMatchObject({ id: "fake", display_name: "fake" });
  });

  test("leaving a stream aborts the request in the engine", async () => {
    const before = fake.client.abortedIds.length;
    const long: Anthropic.MessageParam[] = [{ role: "user", content: "long" }];
    const stream = await anthropic.messages.create({ ...request, messages: long, stream: true });
    for await (const event of stream) if (event.type === "content_block_delta") break;
    while (server.numOpenRequests > 0) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(fake.client.abortedIds.length).toBe(before + 1);
  });

  test("turns errors into its own classes", async () => {
    const refused = anthropic.messages.create({ ...request, max_tokens: -1 });
    await expect(refused).rejects.toThrow(Anthropic.BadRequestError);
    await expect(refused).rejects.toMatchObject({
      status: 400,
      error: { type: "error", error: { type: "invalid_request_error" } },
    });
    const unknown = anthropic.messages.create({ ...request, model: "nope" });
    await expect(unknown).rejects.toThrow(Anthropic.NotFoundError);
    const stranger = new Anthropic({ baseURL: server.url, apiKey: "wrong", maxRetries: 0 });
    await expect(stranger.messages.create(request)).rejects.toThrow(Anthropic.AuthenticationError);
  });

  test("tries again after 429, as long as it is told to wait", async () => {
    const limited = await startServer({
      host: "127.0.0.1",
      port: 0,
      models: [fake.model],
      apiKeys: [{ name: "slow", key: "slow-key", limits: { requestsPerSecond: 1 } }],
    });
    const client = new Anthropic({ baseURL: limited.url, apiKey: "slow-key", maxRetries: 3 });
    try {
      await client.messages.create(request);
      expect((await client.messages.create(request)).stop_reason).toBe("end_turn");
    } finally {
      await limited.close();
    }
  });
});
