import { expect, test } from "vitest";
import { byteBosTokenId } from "../../../tests/byte-tokenizer.ts";
import { createServedFake, type ServedFake } from "../../../tests/served-fake.ts";
import { createServerApp } from "../app.ts";
import { ServerContext } from "../server-context.ts";

interface Answer {
  readonly object: string;
  readonly data: { object: string; index: number; embedding: number[] | string }[];
  readonly usage: { prompt_tokens: number; total_tokens: number };
  readonly error?: { message: string; param: string };
}

const encoder = createServedFake({ info: { embeddingSize: 4, architecture: "BertModel", maxModelLen: 64 } });

async function embed(body: object, fake: ServedFake = encoder): Promise<Answer> {
  const app = createServerApp(new ServerContext({ models: [fake.model] }));
  const response = await app.request("/v1/embeddings", { method: "POST", body: JSON.stringify(body) });
  return (await response.json()) as Answer;
}

/** What the fake makes of token ids: how many leave each remainder by four. */
function countsOf(ids: readonly number[]): number[] {
  return [0, 1, 2, 3].map((rest) => ids.filter((id) => id % 4 === rest).length);
}

test("gives one vector for each text or list of token ids, in order", async () => {
  const one = await embed({ model: "fake", input: "ab" });
  expect(one).toEqual({
    object: "list",
    data: [{ object: "embedding", index: 0, embedding: countsOf([byteBosTokenId, 97, 98]) }],
    model: "fake",
    usage: { prompt_tokens: 3, total_tokens: 3 },
  });
  const many = await embed({ input: ["a", "bc"] });
  expect(many.data.map(({ index, embedding }) => [index, embedding])).toEqual([
    [0, countsOf([byteBosTokenId, 97])],
    [1, countsOf([byteBosTokenId, 98, 99])],
  ]);
  expect((await embed({ input: [5, 6] })).data[0]!.embedding).toEqual(countsOf([5, 6]));
  expect((await embed({ input: [[5], [6, 7]] })).data.map(({ embedding }) => embedding)).toEqual([
    countsOf([5]),
    countsOf([6, 7]),
  ]);
});

test("a request that names no model gets the first that makes embeddings", async () => {
  const model = { ...encoder.model, id: "encoder" };
  const app = createServerApp(new ServerContext({ models: [createServedFake().model, model] }));
  const ask = async (path: string, body: object): Promise<Answer & { model: string }> => {
    const response = await app.request(path, { method: "POST", body: JSON.stringify(body) });
    return (await response.json()) as Answer & { model: string };
  };
  expect((await ask("/v1/embeddings", { input: "a" })).model).toBe("encoder");
  expect((await ask("/score", { text_1: "a", text_2: "b" })).model).toBe("encoder");
  expect((await ask("/rerank", { query: "a", documents: ["b"] })).model).toBe("encoder");
  expect((await ask("/v1/embeddings", { input: "a", model: "fake" })).error?.message).toContain(
    "makes text and no embeddings. Name one that does: `encoder`.",
  );
  const messages = [{ role: "user", content: "a" }];
  expect((await ask("/v1/chat/completions", { messages, model: "encoder" })).error?.message).toContain(
    "(BertModel) makes embeddings and no text. Ask POST /v1/embeddings, or another model.",
  );
});

test("packs the values as little-endian f32 in base64", async () => {
  const { data } = await embed({ input: [1, 2, 2], encoding_format: "base64", dimensions: 4 });
  const bytes = Buffer.from(data[0]!.embedding as string, "base64");
  expect([0, 4, 8, 12].map((at) => bytes.readFloatLE(at))).toEqual(countsOf([1, 2, 2]));
});

test.each([
  [{}, "input", /a text, a list of texts/],
  [{ input: [] }, "input", /not empty/],
  [{ input: "a", dimensions: 3 }, "dimensions", /4, the length of this model's vectors/],
  [{ input: "a", encoding_format: "int8" }, "encoding_format", /float or base64/],
  [{ input: Array.from({ length: 2049 }, () => "a") }, "input", /at most 2048 texts \(here 2049\)/],
  [{ input: ["a", [512]] }, "input[1]", /a text like the first/],
  [{ input: [512] }, "input", /512/],
])("refuses %j by field", async (body, param, message) => {
  const { error } = await embed(body);
  expect(error?.param).toContain(param);
  expect(error?.message).toMatch(message);
});

test("a language model is refused with what to do", async () => {
  const { error } = await embed({ input: "a" }, createServedFake());
  expect(error).toMatchObject({ param: "model", message: expect.stringContaining("no embeddings") });
});
