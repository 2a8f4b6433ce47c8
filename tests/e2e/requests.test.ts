import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { endProcesses, pebble, type ServeProcess, startServe } from "./run-cli.ts";

let server: ServeProcess;
let openai: OpenAI;

beforeAll(async () => {
  server = await startServe(pebble, "--port", "0", "--served-model-name", "pebble");
  while ((await fetch(`${server.url}/health`)).status !== 200) await sleep(20);
  openai = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "none", maxRetries: 0 });
});

afterAll(endProcesses);

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

interface Refused {
  readonly status: number;
  readonly error: { readonly message: string; readonly param: string | null; readonly reason: string };
}

async function refused(path: string, body: string): Promise<Refused> {
  const response = await fetch(`${server.url}${path}`, { method: "POST", body });
  const { error } = (await response.json()) as Refused;
  return { status: response.status, error };
}

describe("requests that cannot be answered", () => {
  const long = "word ".repeat(3000);
  test.each<[string, string, string, Omit<Refused["error"], "message"> & { status: number; says: RegExp }]>([
    [
      "a body that is no JSON",
      "/v1/completions",
      '{"prompt": "a"',
      {
        status: 400,
        reason: "malformed_json",
        param: null,
        says: /not valid JSON: .+\. Send one JSON object\.$/,
      },
    ],
    [
      "a model of another name",
      "/v1/chat/completions",
      '{"model": "gpt-9", "messages": [{"role": "user", "content": "a"}]}',
      {
        status: 404,
        reason: "model_not_found",
        param: "model",
        says: /`gpt-9` does not exist\. This server serves `pebble`\. Use one/,
      },
    ],
    [
      "a prompt beyond the context",
      "/v1/completions",
      JSON.stringify({ prompt: long, max_tokens: 5 }),
      {
        status: 400,
        reason: "context_length_exceeded",
        param: "prompt",
        says: /maximum context length is 2048 tokens\. The prompt has \d+ tokens and you asked for 5 .+ Shorten/,
      },
    ],
    [
      "messages beyond the context",
      "/v1/chat/completions",
      JSON.stringify({ messages: [{ role: "user", content: long }] }),
      {
        status: 400,
        reason: "context_length_exceeded",
        param: "messages",
        says: /The prompt has \d+ tokens, which leaves none for the answer\. Shorten/,
      },
    ],
    [
      "a message without a text",
      "/v1/chat/completions",
      '{"messages": [{"role": "user", "content": {"text": "a"}}]}',
      {
        status: 400,
        reason: "invalid_request",
        param: "messages[0].content",
        says: /messages\[0\]\.content is \{"text":"a"\}; it must be a text or a list of content parts\. Correct/,
      },
    ],
    [
      "an unknown path",
      "/v1/images/generations",
      "{}",
      { status: 404, reason: "route_not_found", param: null, says: /POST \/v1\/completions.* Use one/ },
    ],
  ])("%s is refused", async (_, path, body, { status, says, ...error }) => {
    const answer = await refused(path, body);
    expect(answer).toMatchObject({ status, error });
    expect(answer.error.message).toMatch(says);
  });
});

/** The values of one metric, of all its labels. */
async function metric(name: string): Promise<number[]> {
  const response = await fetch(`${server.url}/metrics`);
  expect(response.status).toBe(200);
  return (await response.text())
    .split("\n")
    .filter((line) => line.startsWith(`${name}{`))
    .map((line) => Number(line.split(" ").at(-1)));
}

/** One request of the official client: chat or completion, streamed or not; some leave in the middle. */
async function ask(index: number): Promise<"whole" | "aborted"> {
  const leave = new AbortController();
  const leaves = index % 3 === 0;
  const common = { model: "pebble", max_tokens: leaves ? 200 : 1 + (index % 8), seed: index };
  const messages = [{ role: "user" as const, content: `Where is the snake? ${index % 5}` }];
  const options = { signal: leave.signal };
  try {
    if (index % 2 === 0) {
      const stream =
        index % 4 === 0
          ? await openai.chat.completions.create({ ...common, messages, stream: true }, options)
          : await openai.completions.create(
              { ...common, prompt: `Mia has ${index % 5}`, stream: true },
              options,
            );
      for await (const _ of stream) {
        if (!leaves) continue;
        leave.abort();
        // Where the whole answer has arrived already, the client would wait for an end that its own abort took away.
        break;
      }
    } else {
      if (leaves) setTimeout(() => leave.abort(), index % 20);
      if (index % 4 === 1) await openai.chat.completions.create({ ...common, messages }, options);
      else await openai.completions.create({ ...common, prompt: "Mia has a red" }, options);
    }
  } catch (error) {
    if (!(error instanceof OpenAI.APIUserAbortError)) throw error;
    return "aborted";
  }
  return leave.signal.aborted ? "aborted" : "whole";
}

describe("the official OpenAI client", () => {
  test("gets the same greedy answer whole and streamed, from both endpoints", async () => {
    const chat = {
      model: "pebble",
      messages: [{ role: "user" as const, content: "Where is the snake?" }],
      temperature: 0,
      max_tokens: 12,
    };
    const whole = await openai.chat.completions.create(chat);
    let text = "";
    for await (const chunk of await openai.chat.completions.create({ ...chat, stream: true })) {
      text += chunk.choices[0]?.delta.content ?? "";
    }
    expect(text).toBe(whole.choices[0]?.message.content);
    expect(text).not.toBe("");
    const completion = { model: "pebble", prompt: "Mia has a red", temperature: 0, max_tokens: 12 };
    const wholeCompletion = await openai.completions.create(completion);
    let continued = "";
    for await (const chunk of await openai.completions.create({ ...completion, stream: true })) {
      continued += chunk.choices[0]?.text ?? "";
    }
    expect(continued).toBe(wholeCompletion.choices[0]?.text);
    await expect(openai.completions.create({ ...completion, top_p: 7 })).rejects.toMatchObject({
      status: 400,
      param: "top_p",
    });
  });

  test("after 200 mixed requests with a third aborted every block is free again", async () => {
    const ends = await Promise.all(Array.from({ length: 200 }, (_, index) => ask(index)));
    const numAborted = ends.filter((end) => end === "aborted").length;
    expect(numAborted).toBeGreaterThan(30);
    const isIdle = async (): Promise<boolean> =>
      (await metric("vllm:num_requests_running"))[0] === 0 &&
      (await metric("vllm:num_requests_waiting"))[0] === 0;
    while (!(await isIdle())) await sleep(20);
    expect(await metric("vllm:kv_cache_usage_perc")).toEqual([0]);
    expect(await server.stop()).toBe(0);
  });
});
