import { describe, expect, test } from "vitest";
import { byteBosTokenId } from "../../../tests/byte-tokenizer.ts";
import { type Answer, complete, post, stream } from "../../../tests/served-completions.ts";
import { createServedFake, readEvents, replying } from "../../../tests/served-fake.ts";

describe("POST /v1/completions", () => {
  test("answers a text prompt with 16 tokens where the request names no number", async () => {
    const fake = createServedFake(replying("abcdefghijklmnopqrstuvwxyz"));
    const answer = await complete(fake, { prompt: "hi", model: "fake" });
    expect(answer).toMatchObject({ object: "text_completion", model: "fake" });
    expect(answer.id).toMatch(/^cmpl-[0-9a-f]{32}$/);
    expect(answer).toMatchObject({
      system_fingerprint: expect.stringMatching(/^millrace-[\d.]+-[0-9a-f]{8}$/),
    });
    expect(answer.choices).toMatchObject([{ index: 0, text: "abcdefghijklmnop", finish_reason: "length" }]);
    expect(answer.usage).toMatchObject({ prompt_tokens: 3, completion_tokens: 16, total_tokens: 19 });
    expect(fake.client.requests[0]?.promptTokenIds).toEqual([byteBosTokenId, 104, 105]);
  });

  test("takes all four forms of a prompt", async () => {
    const fake = createServedFake(replying("x"));
    expect((await complete(fake, { prompt: ["a", "b"] })).choices.map((c) => c.index)).toEqual([0, 1]);
    expect((await complete(fake, { prompt: [1, 2] })).choices).toHaveLength(1);
    expect((await complete(fake, { prompt: [[1], [2, 3]] })).choices).toHaveLength(2);
    expect(fake.client.requests.map((r) => [...r.promptTokenIds])).toEqual([
      [byteBosTokenId, 97],
      [byteBosTokenId, 98],
      [1, 2],
      [1],
      [2, 3],
    ]);
  });

  test("translates every sampling field", async () => {
    const fake = createServedFake(replying("x"));
    await complete(fake, {
      prompt: "a",
      add_special_tokens: false,
      max_tokens: 5,
      min_tokens: 2,
      temperature: 0.5,
      top_p: 0.9,
      top_k: -1,
      min_p: 0.1,
      seed: 7,
      stop_token_ids: [9],
      ignore_eos: true,
      logit_bias: { 65: -100 },
      logprobs: 3,
    });
    expect(fake.client.requests[0]).toMatchObject({
      promptTokenIds: [97],
      sampling: {
        maxTokens: 5,
        minTokens: 2,
        temperature: 0.5,
        topP: 0.9,
        topK: 0,
        minP: 0.1,
        seed: 7n,
        stopTokenIds: [9],
        ignoreEos: true,
        logprobs: 3,
        logitBias: new Map([[65, -100]]),
      },
    });
  });

  test("applies the model's sampling defaults only where the request says nothing", async () => {
    const fake = createServedFake(replying("x"), { generationDefaults: { temperature: 0.2, topK: 50 } });
    await complete(fake, { prompt: "a", temperature: 0.7 });
    expect(fake.client.requests[0]?.sampling).toMatchObject({ temperature: 0.7, topK: 50, topP: 1 });
  });

  test("gives each of n choices its own seed and counts the prompt once", async () => {
    const fake = createServedFake(replying("xy"));
    const answer = await complete(fake, { prompt: "ab", n: 3, seed: 10, max_tokens: 2 });
    expect(answer.choices.map((c) => c.index)).toEqual([0, 1, 2]);
    expect(fake.client.requests.map((r) => r.sampling.seed)).toEqual([10n, 11n, 12n]);
    expect(answer.usage).toMatchObject({ prompt_tokens: 3, completion_tokens: 6 });
  });

  test("names the stop string or stop id that ended a choice", async () => {
    const fake = createServedFake(replying("one, two. three"));
    const byText = await complete(fake, { prompt: "a", stop: ["."], max_tokens: 50 });
    expect(byText.choices[0]).toMatchObject({ text: "one, two", finish_reason: "stop", stop_reason: "." });
    const kept = await complete(fake, {
      prompt: "a",
      stop: ".",
      include_stop_str_in_output: true,
      max_tokens: 50,
    });
    expect(kept.choices[0]?.text).toBe("one, two.");
    const byId = await complete(fake, { prompt: "a", stop_token_ids: [44], max_tokens: 50 });
    expect(byId.choices[0]).toMatchObject({ text: "one", finish_reason: "stop", stop_reason: 44 });
  });

  test("echoes and scores the prompt without generating anything, as evaluation harnesses ask", async () => {
    const fake = createServedFake();
    const answer = await complete(fake, { prompt: [72, 105, 33], echo: true, max_tokens: 0, logprobs: 1 });
    expect(fake.client.requests).toHaveLength(0);
    expect(fake.client.scoreRequests).toMatchObject([{ start: 1, topK: 1, tokenIds: [72, 105, 33] }]);
    expect(answer.choices).toEqual([
      {
        index: 0,
        text: "Hi!",
        finish_reason: "length",
        stop_reason: null,
        logprobs: {
          tokens: ["H", "i", "!"],
          text_offset: [0, 1, 2],
          token_logprobs: [null, -1, -1],
          top_logprobs: [null, { i: -1 }, { "!": -1 }],
        },
      },
    ]);
    expect(answer.usage).toMatchObject({ prompt_tokens: 3, completion_tokens: 0 });
  });

  test("puts the echoed prompt's log-probabilities before the answer's", async () => {
    const fake = createServedFake(replying("Z"));
    const answer = await complete(fake, { prompt: [65, 66], echo: true, max_tokens: 1, logprobs: 2 });
    const { logprobs, text } = answer.choices[0]!;
    expect(text).toBe("ABZ");
    expect(logprobs?.tokens).toEqual(["A", "B", "Z"]);
    expect(logprobs?.text_offset).toEqual([0, 1, 2]);
    expect(logprobs?.token_logprobs).toEqual([null, -1, -Math.LN2]);
    expect(logprobs?.top_logprobs[2]).toEqual({ Z: -Math.LN2, "[": -2 * Math.LN2 });
  });

  test("clamps impossible log-probabilities so that the JSON stays valid", async () => {
    const score = {
      logprobs: Float32Array.of(-Infinity),
      argmax: Int32Array.of(1),
      topIds: Int32Array.of(66),
      topLogprobs: Float32Array.of(-Infinity),
    };
    const fake = createServedFake({ score: () => score });
    const answer = await complete(fake, { prompt: [65, 66], echo: true, max_tokens: 0, logprobs: 1 });
    expect(answer.choices[0]?.logprobs?.token_logprobs).toEqual([null, -9999]);
    expect(answer.choices[0]?.logprobs?.top_logprobs[1]).toEqual({ B: -9999 });
  });

  test("streams the same text, tokens and log-probabilities as the whole answer has", async () => {
    const body = {
      prompt: ["p", "q"],
      n: 2,
      max_tokens: 60,
      logprobs: 1,
      echo: true,
      return_token_ids: true,
      stop: ["世"],
    };
    const script = replying("Grüße 🙂 to the 世界");
    const whole = await complete(createServedFake(script), body);
    const chunks = await stream(createServedFake(script), {
      ...body,
      stream_options: { include_usage: true },
    });
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: whole.usage });
    expect(chunks.slice(0, -1).every((chunk) => chunk.usage === null)).toBe(true);
    for (const choice of whole.choices) {
      const pieces = chunks.flatMap((chunk) => chunk.choices).filter((piece) => piece.index === choice.index);
      expect(pieces.map((p) => p.text).join("")).toBe(choice.text);
      expect(pieces.flatMap((p) => p.logprobs?.tokens ?? [])).toEqual(choice.logprobs?.tokens);
      expect(pieces.flatMap((p) => p.logprobs?.text_offset ?? [])).toEqual(choice.logprobs?.text_offset);
      expect(pieces.flatMap((p) => p.token_ids ?? [])).toEqual(choice.token_ids);
      expect(pieces[0]?.prompt_token_ids).toEqual(choice.prompt_token_ids);
      expect(pieces.at(-1)).toMatchObject({ finish_reason: "stop", stop_reason: "世" });
    }
    expect(whole.choices[0]?.text).toBe("pGrüße 🙂 to the ");
  });

  test("counts usage in every chunk when continuous_usage_stats is set", async () => {
    const stream_options = { continuous_usage_stats: true };
    const chunks = await stream(createServedFake(replying("abc")), {
      prompt: "p",
      max_tokens: 3,
      stream_options,
    });
    expect(chunks.map((chunk) => chunk.usage?.completion_tokens)).toEqual([1, 2, 3]);
  });

  test("answers an error before the first chunk with its status, a later one inside the stream", async () => {
    const fail = (at: number) => ({
      ...replying("abc"),
      fail: (_: unknown, i: number) => (i === at ? new Error("boom /etc/x") : undefined),
    });
    const early = await post(createServedFake(fail(0)), { prompt: "p", stream: true });
    expect(early.status).toBe(500);
    const late = await post(createServedFake(fail(2)), { prompt: "p", stream: true });
    expect(late.status).toBe(200);
    const events = readEvents(await late.text()) as Answer[];
    expect(events.at(-1)?.error).toMatchObject({ type: "InternalServerError", code: 500 });
    expect(JSON.stringify(events)).not.toContain("/etc/x");
  });

  test("cancelling the body of a streamed answer aborts the request", async () => {
    const fake = createServedFake({ ...replying("x".repeat(1000)), delayMs: 1 });
    const response = await post(fake, { prompt: "p", stream: true, max_tokens: 1000 });
    const reader = response.body!.getReader();
    await reader.read();
    await reader.cancel();
    expect(fake.client.abortedIds).toHaveLength(1);
  });

  test("a failing sequence aborts the others of its request", async () => {
    const fake = createServedFake({
      ...replying("abc"),
      hold: (request) => (request.requestId.endsWith("-0") ? new Promise(() => {}) : undefined),
      fail: (request, i) => (request.requestId.endsWith("-1") && i === 1 ? new Error("boom") : undefined),
    });
    expect((await post(fake, { prompt: ["a", "b"] })).status).toBe(500);
    expect(fake.client.abortedIds).toHaveLength(1);
  });
});

describe("fields", () => {
  const cases: [string, object][] = [
    ["best_of", { best_of: 2 }],
    ["suffix", { suffix: "x" }],
    ["response_format", { response_format: { type: "json_object" } }],
    ["temperature", { temperature: 3 }],
    ["temperature", { temperature: "hot" }],
    ["top_p", { top_p: 0 }],
    ["n", { n: 2, temperature: 0 }],
    ["n", { n: 1e9 }],
    ["min_tokens", { min_tokens: 5, max_tokens: 4 }],
    ["max_tokens", { max_tokens: 0 }],
    ["max_tokens", { max_tokens: 1.5 }],
    ["logprobs", { logprobs: 21 }],
    ["stop", { stop: Array.from({ length: 65 }, (_, i) => `s${i}`) }],
    ["stop[0]", { stop: [""] }],
    ["stop_token_ids[1]", { stop_token_ids: [1, 512] }],
    ["stop_token_ids[0]", { stop_token_ids: ["a"] }],
    ["stop_token_ids", { stop_token_ids: "a" }],
    ["logit_bias", { logit_bias: { "512": 1 } }],
    ["logit_bias", { logit_bias: { x: 1 } }],
    ["logit_bias.65", { logit_bias: { 65: "much" } }],
    ["logit_bias.65", { logit_bias: { 65: 101 } }],
    ["logit_bias", { logit_bias: [] }],
    ["seed", { seed: 2 ** 60 }],
    ["prompt", { prompt: [] }],
    ["prompt", { prompt: {} }],
    ["prompt", { prompt: null }],
    ["prompt[1]", { prompt: [1, "a"] }],
    ["prompt[1]", { prompt: ["a", 1] }],
    ["prompt[1]", { prompt: [[1], "a"] }],
    ["prompt[1][2]", { prompt: [[1], [1, 2, 1.5]] }],
    ["prompt[0]", { prompt: [1.5] }],
    ["prompt[0]", { prompt: [-1] }],
    ["prompt[0]", { prompt: [512] }],
    ["prompt[1][0]", { prompt: [[1], [512]] }],
    ["prompt[1]", { prompt: [[1], []] }],
    ["prompt", { prompt: Array.from({ length: 1025 }, () => "a") }],
    ["stream_options", { stream_options: { include_usage: true } }],
    ["stream_options.include_usage", { stream: true, stream_options: { include_usage: 3 } }],
    ["max_tokens", { prompt: "a".repeat(2046), max_tokens: 2 }],
    ["prompt", { prompt: "a".repeat(2047), max_tokens: 2 }],
    ["prompt", { prompt: "a".repeat(2046) }],
    ["prompt[1]", { prompt: ["a", "a".repeat(2048)], max_tokens: 2 }],
    ["prompt", { prompt: "a".repeat(10_000) }],
    ["prompt[1]", { prompt: ["a", "\udc00"] }],
  ];
  for (const [param, body] of cases) {
    test(`refuses ${JSON.stringify(body).slice(0, 60)} and names ${param}`, async () => {
      const fake = createServedFake();
      const response = await post(fake, { prompt: "p", ...body });
      expect(response.status).toBe(400);
      const { error } = (await response.json()) as Answer;
      expect(error).toMatchObject({ type: "BadRequestError", param, code: 400 });
      expect(fake.client.requests).toHaveLength(0);
    });
  }

  test("takes neutral values of what it does not support, and null everywhere", async () => {
    const neutral = {
      presence_penalty: 0,
      repetition_penalty: 1,
      best_of: 1,
      suffix: "",
      response_format: { type: "text" },
    };
    const empty = {
      temperature: null,
      stop: null,
      n: null,
      logprobs: null,
      stream: null,
      logit_bias: null,
      model: null,
    };
    expect((await post(createServedFake(), { prompt: "p", ...neutral, ...empty })).status).toBe(200);
  });

  test("lists unknown fields in a header, and refuses them when strict", async () => {
    const body = { prompt: "p", store: true, "frob\r\nx": 1 };
    const lenient = await post(createServedFake(), body);
    expect(lenient.headers.get("x-millrace-warnings")).toBe("ignored fields: store, frob??x");
    expect((await post(createServedFake(), body, { isStrict: true })).status).toBe(400);
    expect((await post(createServedFake(), { prompt: "p", store: true }, { isStrict: true })).status).toBe(
      200,
    );
  });

  test("usage always tells how much of the prompt came from the cache, once per prompt", async () => {
    const fake = createServedFake({ ...replying("ab"), numCachedTokens: 1 });
    const details = { prompt_tokens_details: { cached_tokens: 2 } };
    const body = { prompt: ["p", "q"], n: 3, max_tokens: 2 };
    expect((await complete(fake, body)).usage).toMatchObject({ prompt_tokens: 4, ...details });
    const chunks = await stream(fake, { ...body, stream_options: { include_usage: true } });
    expect(chunks.at(-1)!.usage).toMatchObject(details);
  });

  const tooLong: [string, object, string][] = [
    [
      "both",
      { prompt: "a".repeat(2040), max_tokens: 100 },
      "2041 tokens and you asked for 100 output tokens, 2141",
    ],
    [
      "the prompt",
      { prompt: "a".repeat(2047), max_tokens: 1 },
      "2048 tokens and you asked for 1 output tokens, 2049",
    ],
    [
      "a default",
      { prompt: "a".repeat(2040) },
      "2041 tokens and you asked for 16 output tokens (the default), 2057",
    ],
    ["a long text", { prompt: "a".repeat(20_000) }, "20000 characters, which are 20000 tokens or more"],
    [
      "the room that is left",
      { prompt: "a".repeat(2040), max_tokens: 100 },
      "in all; with this prompt max_tokens takes 1 to 7. ",
    ],
    [
      "the most that a default finds",
      { prompt: "a".repeat(2040) },
      "in all; with this prompt max_tokens takes 1 to 7. ",
    ],
    ["no number of tokens", { prompt: "p", max_tokens: 1e30 }, "you asked for 1e+30 output tokens"],
    [
      "no more positions",
      { prompt: "p", max_tokens: 5000 },
      "or ask for fewer tokens; the model has no more than 2,048 positions.",
    ],
    [
      "a prompt alone",
      { prompt: "a".repeat(2047), max_tokens: 1 },
      "2049 in all. Shorten the prompt; the model has no more",
    ],
  ];
  test.each(tooLong)(
    "says how long prompt and answer are when they do not fit: %s",
    async (_, body, says) => {
      const { error } = await complete(createServedFake(), body);
      expect(error?.message).toContain("maximum context length is 2048 tokens.");
      expect(error?.message).toContain(says);
    },
  );

  test("advises a longer context where the model has the positions", async () => {
    const fake = createServedFake({ info: { maxPositions: 8192 } });
    const { error } = await complete(fake, { prompt: "p", max_tokens: 5000 });
    expect(error?.message).toContain(
      "or start with --max-model-len 5002 or larger; the model has no more than 8,192",
    );
    const long = await complete(fake, { prompt: "a".repeat(10_000) });
    expect(long.error?.message).toMatch(
      /Shorten the prompt; the model .* 8,192 positions, also with a larger/,
    );
  });

  const bounds: [object, string][] = [
    [{ max_tokens: 0 }, "it must be at least 1, or 0 together with echo."],
    [
      { max_tokens: -1 },
      "a whole number from 1, or 0 together with echo, to what the prompt leaves of the context.",
    ],
    [
      { max_tokens: "9" },
      "a whole number from 1, or 0 together with echo, to what the prompt leaves of the context.",
    ],
    [{ n: 129 }, "it must be a whole number from 1 to 128."],
    [{ top_k: 1e12 }, "it must be a whole number from 1 to 2147483647, or 0 or -1 for all tokens."],
    [{ seed: 1e300 }, "it must be a whole number from -9007199254740991 to 9007199254740991."],
    [{ priority: 2 ** 31 }, "it must be a whole number from -2147483648 to 2147483647."],
    [{ deadline_ms: 0 }, "it must be a number of milliseconds above 0."],
    [{ logprobs: 1e9 }, "it must be a whole number from 0 to 20."],
  ];
  test.each(bounds)("says the whole range of %j", async (body, says) => {
    const { error } = await complete(createServedFake(), { prompt: "p", ...body });
    expect(error?.message).toContain(says);
  });
});
