import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type RunningServer, startServer } from "../../src/server/start-server.ts";
import { afterwards, createThinkingFake, weatherParameters } from "../think-and-call.ts";

const fake = createThinkingFake();

let server: RunningServer;
let openai: OpenAI;

beforeAll(async () => {
  server = await startServer({ host: "127.0.0.1", port: 0, models: [fake.model] });
  openai = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "none", maxRetries: 0 });
});

afterAll(() => server.close());

const question = "Will it rain in Oslo?";
const tools: OpenAI.Responses.Tool[] = [
  { type: "function", name: "weather", description: "Asks.", parameters: weatherParameters, strict: true },
];

/** Without what differs from answer to answer. */
function withoutIds(items: readonly object[]): object[] {
  return items.map((item) => Object.fromEntries(Object.entries(item).filter(([key]) => !key.endsWith("id"))));
}

describe("the official OpenAI client, on responses", () => {
  test("gets a response, and the same one streamed by its helper", async () => {
    const whole = await openai.responses.create({ model: "fake", input: question, instructions: "Be kind." });
    expect(whole).toMatchObject({ status: "completed", output_text: "Hello 🙂" });
    const stream = openai.responses.stream({ model: "fake", input: question, instructions: "Be kind." });
    let text = "";
    stream.on("response.output_text.delta", ({ delta }) => (text += delta));
    const final = await stream.finalResponse();
    expect(withoutIds(final.output)).toMatchObject(withoutIds(whole.output));
    expect([text, final.output_text]).toEqual(["Hello 🙂", "Hello 🙂"]);
    expect(final.usage).toEqual(whole.usage);
  });

  test("calls a function and tells its result", async () => {
    const first = await openai.responses.create({ model: "fake", input: question, tools });
    const call = first.output.find((item) => item.type === "function_call")!;
    expect(JSON.parse(call.arguments)).toEqual({ city: "Oslo" });
    const second = await openai.responses.create({
      model: "fake",
      tools,
      input: [
        { role: "user", content: question },
        ...first.output,
        { type: "function_call_output", call_id: call.call_id, output: "wet" },
      ] as OpenAI.Responses.ResponseInput,
    });
    expect(second.output_text).toBe(afterwards);
  });

  test("leaving a stream aborts the request in the engine", async () => {
    const before = fake.client.abortedIds.length;
    const stream = await openai.responses.create({ model: "fake", input: "long", stream: true });
    for await (const event of stream) if (event.type === "response.output_text.delta") break;
    while (server.numOpenRequests > 0) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(fake.client.abortedIds.length).toBe(before + 1);
  });

  test("turns errors into its own classes", async () => {
    const refused = openai.responses.create({ model: "fake", input: "a", previous_response_id: "resp_1" });
    await expect(refused).rejects.toThrow(OpenAI.BadRequestError);
    await expect(refused).rejects.toMatchObject({ param: "previous_response_id" });
  });

  test("tries again after 429, as long as it is told to wait", async () => {
    const limited = await startServer({
      host: "127.0.0.1",
      port: 0,
      models: [fake.model],
      limits: { requestsPerMinute: 60, maxConcurrency: 1 },
    });
    const client = new OpenAI({ baseURL: `${limited.url}/v1`, apiKey: "none", maxRetries: 5 });
    try {
      const ask = () => client.responses.create({ model: "fake", input: question });
      const answers = await Promise.all([ask(), ask()]);
      expect(answers.map(({ status }) => status)).toEqual(["completed", "completed"]);
    } finally {
      await limited.close();
    }
  });
});
