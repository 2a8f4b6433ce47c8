import { Ajv2020 } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { Engine } from "../../src/embedded-engine.ts";
import { GrammarPool } from "../../src/grammar/grammar-pool.ts";
import { type RunningServer, startServer } from "../../src/server/start-server.ts";
import { ScoreMemory } from "../../src/text/score-memory.ts";
import { createRandom } from "../law/covering-array.ts";
import { randomRoot } from "../random-schema.ts";
import { hasTestData, missingDataMark, repositoryPath, testData } from "../test-data.ts";

/** 300 for the whole; the draw of each is its own, so that any part is a fair sample. */
const numSchemas = Number(process.env["MILLRACE_TEST_SCHEMAS"] ?? 40);
const timeLimit = { timeout: 600_000 };

const ajv = new Ajv2020({ strict: false });
// The package's types name its default export twice.
(addFormats as unknown as (target: Ajv2020) => void)(ajv);

interface Answer {
  readonly text: string;
  readonly isWhole: boolean;
}

/** A server over a model of this repository or of the test data, and what asks it. */
class Bench {
  readonly #engine: Engine;
  readonly #grammars: GrammarPool;
  readonly #server: RunningServer;
  readonly openai: OpenAI;

  private constructor(engine: Engine, grammars: GrammarPool, server: RunningServer) {
    this.#engine = engine;
    this.#grammars = grammars;
    this.#server = server;
    this.openai = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "none", maxRetries: 0 });
  }

  static async open(modelPath: string, speculation: object = {}): Promise<Bench> {
    const engine = await Engine.load(modelPath, { maxModelLen: 2048, ...speculation });
    const { client, tokenizer } = engine;
    const { vocabSize, eosTokenIds: endTokenIds } = client.info;
    const grammars = new GrammarPool({ tokenizer: tokenizer!, vocabSize, endTokenIds });
    const model = {
      id: "model",
      client,
      tokenizer: tokenizer!,
      grammars,
      promptScorer: new ScoreMemory(client),
      created: 0,
      generationDefaults: {},
    };
    const server = await startServer({ host: "127.0.0.1", port: 0, models: [model], apiKeys: [] });
    return new Bench(engine, grammars, server);
  }

  async close(): Promise<void> {
    await this.#server.close();
    await this.#grammars.close();
    await this.#engine.close();
  }

  /** Text that follows `structured_outputs`, drawn at temperature 1. */
  async follow(structured: object, seed: number, maxTokens = 400): Promise<Answer> {
    const body = {
      model: "model",
      prompt: "Here is the data as JSON:\n",
      max_tokens: maxTokens,
      temperature: 1,
      seed,
      structured_outputs: structured,
    };
    const { choices } = await this.openai.completions.create(body);
    return { text: choices[0]!.text, isWhole: choices[0]!.finish_reason === "stop" };
  }
}

/** Runs `count` tasks, sixteen at a time. */
async function together<T>(count: number, task: (index: number) => Promise<T>): Promise<T[]> {
  const results: T[] = [];
  let next = 0;
  const seat = async (): Promise<void> => {
    for (let index = next++; index < count; index = next++) results[index] = await task(index);
  };
  await Promise.all(Array.from({ length: 16 }, seat));
  return results;
}

async function holdsToSchemas(bench: Bench): Promise<void> {
  const schemas = Array.from({ length: numSchemas }, (_, index) => randomRoot(createRandom(index + 1)));
  const answers = await together(numSchemas, (index) => bench.follow({ json: schemas[index] }, index));
  let numWhole = 0;
  for (const [index, { text, isWhole }] of answers.entries()) {
    if (!isWhole) continue;
    numWhole += 1;
    const validate = ajv.compile(schemas[index]!);
    const isValid = validate(JSON.parse(text));
    expect(isValid, `${JSON.stringify(schemas[index])}\n${text}\n${JSON.stringify(validate.errors)}`).toBe(
      true,
    );
  }
  process.stdout.write(`${numWhole} of ${numSchemas} answers came to their end, all valid\n`);
  expect(numWhole).toBeGreaterThan(0.8 * numSchemas);
}

describe("pebble", () => {
  let bench: Bench;
  beforeAll(async () => {
    bench = await Bench.open(repositoryPath("models", "pebble", "model"));
  });
  afterAll(() => bench.close());

  test("every answer that comes to its end is valid JSON of its schema", timeLimit, () =>
    holdsToSchemas(bench),
  );

  test("without white space of the model's own, JSON stands on one line", timeLimit, async () => {
    const schemas = Array.from({ length: 12 }, (_, index) => randomRoot(createRandom(index + 900)));
    const ask = (compact: boolean) => (index: number) =>
      bench.follow({ json: schemas[index], disable_any_whitespace: compact }, index);
    const answers = await together(12, ask(true));
    const gapsOf = (text: string): string => text.replace(/"(?:[^"\\]|\\.)*"?/g, '""');
    for (const { text } of answers) {
      // Values of `enum` and `const` stand as JSON.stringify writes them.
      const bare = gapsOf(text).replaceAll("[1,2]", "[1, 2]").trimEnd();
      expect(bare).toBe(bare.replaceAll(/\s/g, "").replaceAll(/[,:]/g, "$& ").trimEnd());
    }
    const free = (await together(12, ask(false))).map(({ text }) => gapsOf(text));
    expect(free.some((text) => /\s\s|\n/.test(text))).toBe(true);
    const { choices } = await bench.openai.chat.completions.create({
      model: "model",
      messages: [{ role: "user", content: "Give me an object." }],
      response_format: { type: "json_object" },
      structured_outputs: { disable_any_whitespace: true },
      max_tokens: 60,
      temperature: 1,
      seed: 3,
    } as OpenAI.ChatCompletionCreateParamsNonStreaming);
    expect(gapsOf(choices[0]!.message.content!)).not.toMatch(/[{[]\s|\s[}\]]|\s\s/);
  });

  test("an answer is the same alone, among others and with guesses", timeLimit, async () => {
    const schemas = Array.from({ length: 12 }, (_, index) => randomRoot(createRandom(index + 500)));
    const ask = (own: Bench) => (index: number) => own.follow({ json: schemas[index] }, index, 120);
    const among = await together(12, ask(bench));
    const guessing = await Bench.open(repositoryPath("models", "pebble", "model"), {
      speculation: { numTokens: 4, draftPath: null, isAdaptive: false },
    });
    try {
      expect(await together(12, ask(guessing))).toEqual(among);
    } finally {
      await guessing.close();
    }
    for (const index of [0, 5, 11]) expect(await ask(bench)(index)).toEqual(among[index]);
  });

  test("regex, choice, grammar and any object", timeLimit, async () => {
    for (let seed = 0; seed < 8; seed += 1) {
      const { text } = await bench.follow({ regex: "[a-c]{3}-(\\d\\d|x+)!" }, seed, 40);
      expect(text).toMatch(/^[a-c]{3}-(\d\d|x*)!?/u);
      const choices = ["yes", "no", 'may "be"', "ä\n"];
      expect(choices).toContain((await bench.follow({ choice: choices }, seed)).text);
      expect((await bench.follow({ grammar: 'root ::= ("ab" | "c") root | "."' }, seed, 200)).text).toMatch(
        /^(ab|c)*(\.|a|$)/,
      );
    }
    const { choices } = await bench.openai.chat.completions.create({
      model: "model",
      messages: [{ role: "user", content: "Give me an object." }],
      response_format: { type: "json_object" },
      max_tokens: 800,
      seed: 3,
    });
    const [{ message, finish_reason }] = choices as [(typeof choices)[0]];
    if (finish_reason === "stop") expect(JSON.parse(message.content!)).toBeTypeOf("object");
    expect(message.content).toMatch(/^\s*\{/);
  });

  test("the official client's typed parsing works, whole and streamed alike", timeLimit, async () => {
    const schema = {
      type: "object",
      properties: { colour: { enum: ["red", "blue"] }, count: { type: "integer", minimum: 1, maximum: 99 } },
      required: ["colour", "count"],
      additionalProperties: false,
    };
    const request = {
      model: "model",
      messages: [{ role: "user" as const, content: "Which colour, how many?" }],
      response_format: {
        type: "json_schema" as const,
        json_schema: { name: "answer", strict: true, schema },
      },
      seed: 11,
    };
    const whole = await bench.openai.chat.completions.parse(request);
    expect(whole.choices[0]!.message.parsed).toMatchObject({
      colour: expect.stringMatching(/^(red|blue)$/) as string,
    });
    let streamed = "";
    for await (const chunk of await bench.openai.chat.completions.create({ ...request, stream: true })) {
      streamed += chunk.choices[0]?.delta.content ?? "";
    }
    expect(streamed).toBe(whole.choices[0]!.message.content);
  });

  test(
    "responses and messages hold to a schema too, with the answer that a chat has",
    timeLimit,
    async () => {
      const schema = {
        type: "object",
        properties: {
          colour: { enum: ["red", "blue"] },
          count: { type: "integer", minimum: 1, maximum: 99 },
        },
        required: ["colour", "count"],
        additionalProperties: false,
      };
      const content = "Which colour, how many?";
      const [format, seed] = [{ type: "json_schema" as const, name: "answer", schema }, 11];
      const chat = await bench.openai.chat.completions.create({
        model: "model",
        messages: [{ role: "user", content }],
        response_format: { type: "json_schema", json_schema: format },
        seed,
      });
      const text = chat.choices[0]!.message.content!;
      expect(JSON.parse(text)).toMatchObject({ colour: expect.stringMatching(/^(red|blue)$/) as string });
      const asked = { model: "model", input: content, text: { format }, seed };
      expect((await bench.openai.responses.create(asked)).output_text).toBe(text);
      const body = {
        messages: [{ role: "user", content }],
        max_tokens: 500,
        output_config: { format },
        seed,
      };
      const message = await bench.openai.post<{ content: unknown }>("/messages", { body });
      expect(message.content).toEqual([{ type: "text", text }]);
    },
  );

  test(
    "a program gets a value of its zod schema, and an error where the answer was cut",
    timeLimit,
    async () => {
      const engine = await Engine.load(repositoryPath("models", "pebble", "model"));
      try {
        const schema = z.object({
          colours: z
            .array(z.enum(["red", "blue"]))
            .min(2)
            .max(3),
          size: z.number().positive(),
        });
        const value = await engine.completeObject("The parts as JSON: ", schema, { seed: 1n });
        expect(schema.parse(value)).toEqual(value);
        const messages = [{ role: "user", content: "Which parts?" }];
        await expect(engine.completeObject(messages, schema, { maxTokens: 3 })).rejects.toMatchObject({
          code: "answer_incomplete",
        });
        await expect(engine.completeObject("x", z.object({ a: z.email() }))).rejects.toMatchObject({
          code: "invalid_request",
          param: "schema.properties.a.format",
        });
        const grammar = await engine.grammar({ kind: "regex", pattern: "(ha){2,4}" });
        expect((await engine.complete("Laugh: ", { grammar, maxTokens: 20, seed: 2n })).text).toMatch(
          /^(ha){2,4}$/,
        );
      } finally {
        await engine.close();
      }
    },
  );

  test.each([
    [
      { json: { type: "object", properties: { a: { not: { type: "string" } } } } },
      "structured_outputs.json.properties.a.not",
    ],
    [{ json: { type: "integer", multipleOf: 3 } }, "structured_outputs.json.multipleOf"],
    [{ json: { type: "string", pattern: '"' } }, "structured_outputs.json.pattern"],
    [{ json: { $ref: "https://example.com/schema" } }, "structured_outputs.json.$ref"],
    [{ json: "{" }, "structured_outputs.json"],
    [{ regex: "[a" }, "structured_outputs.regex"],
    [{ regex: "((a{1,200}){1,200}){1,200}" }, "structured_outputs.regex"],
    [{ grammar: "root ::= missing" }, "structured_outputs.grammar"],
    [{ choice: [] }, "structured_outputs.choice"],
    [{ choice: ["a"], regex: "a" }, "structured_outputs"],
  ])(
    "%j is refused by its field %s, and the next request is served",
    timeLimit,
    async (structured, param) => {
      await expect(bench.follow(structured, 1)).rejects.toMatchObject({ status: 400, param });
      expect((await bench.follow({ choice: ["fine"] }, 1)).text).toBe("fine");
    },
  );
});

describe.skipIf(!hasTestData)(`SmolLM2-135M${missingDataMark}`, () => {
  test("every answer that comes to its end is valid JSON of its schema", timeLimit, async () => {
    const bench = await Bench.open(testData("models", "smollm2-135m-instruct-q4_1.gguf"));
    try {
      await holdsToSchemas(bench);
    } finally {
      await bench.close();
    }
  });
});
