import { expect, test } from "vitest";
import { serverMessageOf } from "./server-message.ts";

test.each([
  ['{"error": {"message": "too long", "code": 400}}', "too long"],
  ['{"error": "no such model"}', "no such model"],
  ['{"object": "error", "message": "bad"}', "bad"],
  ['{"detail": "not found"}', "not found"],
  ['{"detail": [{"loc": ["body"]}]}', '{"detail": [{"loc": ["body"]}]}'],
  ["<h1>502 Bad Gateway</h1>\n", "<h1>502 Bad Gateway</h1>"],
  ["null", "null"],
  ["", "no message"],
])("of %s tells the server's own words", (body, message) => {
  expect(serverMessageOf(body)).toBe(message);
});

test("cuts a message that fills pages, and shows that it did", () => {
  const message = serverMessageOf(JSON.stringify({ error: { message: "x".repeat(5000) } }));
  expect(message).toMatch(/^x{600}…$/);
});

test("of a message in more objects than the stack holds, shows the start of the text", () => {
  const body = `${'{"error":'.repeat(100_000)}"deep"${"}".repeat(100_000)}`;
  expect(serverMessageOf(body)).toBe(`${body.slice(0, 600)}…`);
});
