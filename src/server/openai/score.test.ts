import { describe, expect, test } from "vitest";
import { createServedFake, type ServedFake } from "../../../tests/served-fake.ts";
import { createServerApp } from "../app.ts";
import { ServerContext } from "../server-context.ts";

/** Vectors that count letters modulo 4: "aaaa" and "eeee" look alike. */
function createFake(): ServedFake {
  return createServedFake({ info: { embeddingSize: 4 } });
}

async function post(path: string, body: object, fake = createFake()): Promise<Record<string, unknown>> {
  const app = createServerApp(new ServerContext({ models: [fake.model] }));
  const response = await app.request(path, { method: "POST", body: JSON.stringify(body) });
  return (await response.json()) as Record<string, unknown>;
}

describe("POST /score", () => {
  test.each(["/score", "/v1/score"])("%s scores one text beside each of others", async (path) => {
    const answer = await post(path, { text_1: "abc", text_2: ["abc", "bbbbbbbb"] });
    const data = answer["data"] as { index: number; object: string; score: number }[];
    expect(data.map(({ index, object }) => [index, object])).toEqual([
      [0, "score"],
      [1, "score"],
    ]);
    expect(data[0]!.score).toBeCloseTo(1, 12);
    // With the token before every text: counts (0, 2, 1, 1) and (0, 1, 8, 0).
    expect(data[1]!.score).toBeCloseTo(10 / Math.sqrt(6 * 65), 12);
    expect(answer["usage"]).toEqual({ prompt_tokens: 17, total_tokens: 17 });
  });

  test("scores pairs", async () => {
    const answer = await post("/score", { text_1: ["a", "b"], text_2: ["a", "c"] });
    const scores = (answer["data"] as { score: number }[]).map(({ score }) => score);
    expect(scores[0]).toBeCloseTo(1, 12);
    expect(scores[1]).toBeCloseTo(0.5, 12);
  });

  test("refuses lists that do not pair, and models without vectors", async () => {
    const body = { text_1: ["a", "b"], text_2: ["a", "b", "c"] };
    expect(await post("/score", body)).toMatchObject({ error: { param: "text_1" } });
    expect(await post("/score", body, createServedFake())).toMatchObject({ error: { param: "model" } });
  });
});

describe("POST /rerank", () => {
  const body = { query: "abc", documents: ["bbbb", "cba", { text: "zzz" }] };

  test.each(["/rerank", "/v1/rerank", "/v2/rerank"])("%s sorts documents by the query", async (path) => {
    const answer = await post(path, body);
    const results = answer["results"] as {
      index: number;
      document: { text: string };
      relevance_score: number;
    }[];
    expect(results[0]).toMatchObject({ index: 1, document: { text: "cba" } });
    expect(results[0]!.relevance_score).toBeCloseTo(1, 12);
    const scores = results.map((result) => result.relevance_score);
    expect(scores).toEqual(scores.toSorted((a, b) => b - a));
  });

  test("gives the best alone, without texts where they are not wanted", async () => {
    const answer = await post("/rerank", { ...body, top_n: 1, return_documents: false });
    expect(answer["results"]).toEqual([{ index: 1, relevance_score: expect.closeTo(1, 12) }]);
  });

  test("refuses an empty list", async () => {
    expect(await post("/rerank", { query: "a", documents: [] })).toMatchObject({
      error: { param: "documents" },
    });
  });
});
