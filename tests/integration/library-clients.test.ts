import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { HumanMessage } from "@langchain/core/messages";
import { tool as langchainTool } from "@langchain/core/tools";
import { ChatOpenAI, OpenAIEmbeddings } from "@langchain/openai";
import { embedMany, generateText, stepCountIs, streamText, tool } from "ai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { type RunningServer, startServer } from "../../src/server/start-server.ts";
import { createServedFake } from "../served-fake.ts";
import { afterwards, createThinkingFake } from "../think-and-call.ts";

const fake = createThinkingFake();
const vectors = createServedFake({ info: { embeddingSize: 3 } }, { id: "vectors" });

let server: RunningServer;
let baseURL: string;

beforeAll(async () => {
  server = await startServer({
    host: "127.0.0.1",
    port: 0,
    models: [fake.model, vectors.model],
    apiKeys: ["key"],
  });
  baseURL = `${server.url}/v1`;
});

afterAll(() => server.close());

const question = "Will it rain in Oslo?";
const asked: string[] = [];
const city = z.object({ city: z.string() });
const tellWeather = ({ city: name }: z.infer<typeof city>): string => {
  asked.push(name);
  return "wet";
};

describe("the AI SDK", () => {
  const provider = () => createOpenAICompatible({ name: "millrace", baseURL, apiKey: "key" });

  test("generates and streams text and reasoning", async () => {
    const model = provider()("fake");
    const whole = await generateText({ model, prompt: question });
    expect([whole.text, whole.reasoningText]).toEqual(["Hello 🙂", "I ask for it."]);
    const stream = streamText({ model, prompt: question });
    let text = "";
    for await (const part of stream.textStream) text += part;
    expect([text, await stream.reasoningText]).toEqual(["Hello 🙂", "I ask for it."]);
  });

  test("runs a tool and goes on with its result", async () => {
    asked.length = 0;
    const weather = tool({
      description: "Asks.",
      inputSchema: city,
      execute: async (input) => tellWeather(input),
    });
    const { text, steps } = await generateText({
      model: provider()("fake"),
      prompt: question,
      tools: { weather },
      stopWhen: stepCountIs(3),
    });
    expect([text, steps.length, asked]).toEqual([afterwards, 2, ["Oslo"]]);
  });

  test("embeds texts", async () => {
    const { embeddings } = await embedMany({
      model: provider().textEmbeddingModel("vectors"),
      values: ["a", "bb"],
    });
    expect(embeddings.map(({ length }) => length)).toEqual([3, 3]);
  });
});

describe("LangChain", () => {
  const chat = (): ChatOpenAI => new ChatOpenAI({ model: "fake", apiKey: "key", configuration: { baseURL } });

  test("answers and streams", async () => {
    const whole = await chat().invoke(question);
    expect(whole.content).toBe("Hello 🙂");
    let text = "";
    for await (const chunk of await chat().stream(question)) text += chunk.text;
    expect(text).toBe("Hello 🙂");
    expect(whole.usage_metadata).toMatchObject({ total_tokens: expect.any(Number) });
  });

  test("calls a tool and goes on with its result", async () => {
    asked.length = 0;
    const weather = langchainTool(tellWeather, { name: "weather", description: "Asks.", schema: city });
    const model = chat().bindTools([weather]);
    const first = await model.invoke([new HumanMessage(question)]);
    const told = await weather.invoke(first.tool_calls![0]!);
    const second = await model.invoke([new HumanMessage(question), first, told]);
    expect([second.content, asked]).toEqual([afterwards, ["Oslo"]]);
  });

  test("embeds texts", async () => {
    const embeddings = new OpenAIEmbeddings({ model: "vectors", apiKey: "key", configuration: { baseURL } });
    expect((await embeddings.embedDocuments(["a", "bb"])).map(({ length }) => length)).toEqual([3, 3]);
  });
});
