import { expect, test } from "vitest";
import { post } from "../../../tests/served-completions.ts";
import { createServedFake } from "../../../tests/served-fake.ts";
import type { ServerOptions } from "../server-context.ts";

test("names the known field that an unknown one may stand for, and what takes the place of others", async () => {
  const body = { prompt: "p", temprature: 0, max_token: 1, guided: 1 };
  const lenient = await post(createServedFake(), body);
  expect(lenient.headers.get("x-millrace-warnings")).toBe(
    "ignored fields: temprature (temperature?), max_token (max_tokens?), guided",
  );
  const messageOf = async (fields: object, more: ServerOptions = {}) => {
    const response = await post(createServedFake(), { prompt: "p", ...fields }, more);
    expect(response.status).toBe(400);
    return ((await response.json()) as { error: { message: string } }).error.message;
  };
  expect(await messageOf({ temprature: 0 }, { isStrict: true })).toContain("if temperature is meant");
  for (const kind of ["json", "regex", "choice", "grammar"]) {
    expect(await messageOf({ [`guided_${kind}`]: "x" })).toContain(
      `Use structured_outputs.${kind} in its place.`,
    );
  }
});
