import { readFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { createServedFake } from "../../../tests/served-fake.ts";
import { createServerApp } from "../app.ts";
import { ServerContext } from "../server-context.ts";
import { chatSchema, completionSchema, detokenizeSchema, tokenizeSchema } from "./schemas.ts";

const endpoints = {
  "/v1/completions": completionSchema,
  "/v1/chat/completions": chatSchema,
  "/tokenize": tokenizeSchema,
  "/detokenize": detokenizeSchema,
};
/** Good values of required fields, so that only the field under test is at fault. */
const required: Record<string, object> = {
  "/v1/completions": { prompt: "p" },
  "/v1/chat/completions": { messages: [{ role: "user", content: "Hi" }] },
  "/tokenize": { prompt: "p" },
  "/detokenize": { tokens: [1] },
};

async function messageFor(path: string, body: object): Promise<{ message: string; param: string }> {
  const app = createServerApp(new ServerContext({ models: [createServedFake().model] }));
  const response = await app.request(path, { method: "POST", body: JSON.stringify(body) });
  expect(response.status).toBe(400);
  return ((await response.json()) as { error: { message: string; param: string } }).error;
}

describe("a field of the wrong type", () => {
  const cases = Object.entries(endpoints).flatMap(([path, schema]) =>
    Object.keys(schema.shape).map((name): [string, string] => [path, name]),
  );
  test.each(cases)("%s says what %s is and what it must be", async (path, name) => {
    for (const value of [-1.5, "", [[]], { a: 1 }, true]) {
      const isRight =
        endpoints[path as keyof typeof endpoints].shape[name as "model"].safeParse(value).success;
      if (isRight) continue;
      const { message, param } = await messageFor(path, { ...required[path], [name]: value });
      expect(param.startsWith(name)).toBe(true);
      expect(message).toMatch(
        /^The field \S+ is .+; it must be [a-z].*\. (Add it|Correct it(, or leave it out for its default)?)\.$/,
      );
      expect(message).toContain(`The field ${param} is `);
      expect(message).not.toMatch(/invalid|expected|received|\bNaN\b/i);
    }
  });
});

test("values are shown as they were sent, shortened where they are long", async () => {
  const post = (body: object): Promise<{ message: string }> => messageFor("/v1/completions", body);
  expect((await post({})).message).toMatch(/^The field prompt is missing; it must be a text, a list/);
  expect((await post({ prompt: "a", temperature: "hot" })).message).toBe(
    'The field temperature is "hot"; it must be a number from 0 (greedy) to 2. Correct it, or leave it out for its default.',
  );
  expect((await post({ prompt: 5 })).message).toMatch(/^The field prompt is 5; .* not empty\. Correct it\.$/);
  // The number in this text is 2^60, which a JSON reader rounds.
  expect((await post({ prompt: "a", seed: 2 ** 60 })).message).toContain(
    "The field seed is about 1.153e+18; it must be a whole number from -9007199254740991 to",
  );
  const long = await post({ prompt: "a", max_tokens: "x".repeat(5000) });
  expect(long.message.length).toBeLessThan(300);
});

test("the guides tell of every field that a completion or a chat takes", () => {
  const guides = ["sampling.md", "requests-and-metrics.md", "tool-calls.md"].map((name) =>
    readFileSync(path.join(import.meta.dirname, "../../../docs/guide", name), "utf8"),
  );
  const asked = new Set(["model", "prompt", "messages"]);
  const fields = new Set([...Object.keys(completionSchema.shape), ...Object.keys(chatSchema.shape)]);
  for (const field of fields) {
    if (!asked.has(field)) expect(guides.join(), field).toContain(`\`${field}\``);
  }
});
