import { describe, expect, test } from "vitest";
import { type Answer, complete, post } from "../../../tests/served-completions.ts";
import { createServedFake, replying } from "../../../tests/served-fake.ts";

describe("constraints and scores", () => {
  test("hands penalties, allowed tokens and bad words to the engine", async () => {
    const fake = createServedFake(replying("x"));
    await complete(fake, {
      prompt: "p",
      repetition_penalty: 1.2,
      frequency_penalty: -0.5,
      presence_penalty: 2,
      allowed_token_ids: [120, 121],
      bad_words: ["ab", " c"],
    });
    expect(fake.client.requests[0]?.sampling).toMatchObject({
      repetitionPenalty: 1.2,
      frequencyPenalty: -0.5,
      presencePenalty: 2,
      allowedTokenIds: [120, 121],
      // One token per byte: with a space before it, each is a token longer.
      badWords: [[97, 98], [99]],
    });
  });

  test("takes the repetition penalty of the model's own config where the request names none", async () => {
    const fake = createServedFake(replying("x"), { generationDefaults: { repetitionPenalty: 1.1 } });
    await complete(fake, { prompt: "p" });
    await complete(fake, { prompt: "p", repetition_penalty: 1 });
    expect(fake.client.requests.map(({ sampling }) => sampling.repetitionPenalty)).toEqual([1.1, 1]);
  });

  test("takes the many stop texts of evaluation clients, within reason", async () => {
    const fake = createServedFake(replying("x"));
    const stops = Array.from({ length: 65 }, (_, i) => `stop ${i}`);
    expect((await post(fake, { prompt: "p", stop: stops.slice(1) })).status).toBe(200);
    expect((await post(fake, { prompt: "p", stop: stops })).status).toBe(400);
  });

  test("gives each choice the log-probabilities of its prompt, null first", async () => {
    const fake = createServedFake(replying("xy"));
    const answer = await complete(fake, {
      prompt: ["ab", "c"],
      n: 2,
      seed: 1,
      prompt_logprobs: 2,
      max_tokens: 1,
    });
    const scored = (id: number): object => ({
      [id]: { logprob: -1, rank: 1, decoded_token: String.fromCharCode(id) },
      [id + 1]: { logprob: -2, rank: 2, decoded_token: String.fromCharCode(id + 1) },
    });
    const first = { prompt_logprobs: [null, scored(97), scored(98)] };
    const second = { prompt_logprobs: [null, scored(99)] };
    expect(answer.choices).toMatchObject([first, first, second, second]);
    expect(fake.client.scoreRequests).toHaveLength(2);
    const { choices } = await complete(fake, { prompt: "ab", max_tokens: 1 });
    expect(choices[0]).not.toHaveProperty("prompt_logprobs");
  });

  const wrong: [string, object][] = [
    ["presence_penalty", { presence_penalty: 2.5 }],
    ["presence_penalty", { presence_penalty: "high" }],
    ["frequency_penalty", { frequency_penalty: -3 }],
    ["repetition_penalty", { repetition_penalty: 0 }],
    ["repetition_penalty", { repetition_penalty: 1e-60 }],
    ["allowed_token_ids", { allowed_token_ids: [] }],
    ["allowed_token_ids[1]", { allowed_token_ids: [1, 512] }],
    ["bad_words", { bad_words: "x" }],
    ["bad_words[1]", { bad_words: ["x", " "] }],
    ["bad_words[0]", { bad_words: [1] }],
    ["bad_words", { bad_words: Array.from({ length: 1001 }, () => "x") }],
    ["bad_words", { bad_words: ["x".repeat(60_000)] }],
    ["prompt_logprobs", { prompt_logprobs: 21 }],
    ["prompt_logprobs", { prompt_logprobs: -1 }],
    ["prompt_logprobs", { prompt_logprobs: 1, stream: true }],
  ];
  for (const [param, body] of wrong) {
    test(`refuses ${JSON.stringify(body).slice(0, 60)} and names ${param}`, async () => {
      const fake = createServedFake();
      const response = await post(fake, { prompt: "p", ...body });
      expect(response.status).toBe(400);
      expect(((await response.json()) as Answer).error).toMatchObject({
        type: "BadRequestError",
        param,
        code: 400,
      });
      expect(fake.client.requests).toHaveLength(0);
    });
  }
});
