import { expect, test } from "vitest";
import { headersOf } from "./endpoint.ts";

test("a user's header takes the place of ours, however it is written", () => {
  const endpoint = {
    url: "http://127.0.0.1:9",
    apiKey: "key",
    headers: { Authorization: "Basic x", "X-A": "1" },
  };
  expect(headersOf(endpoint)).toEqual({
    "content-type": "application/json",
    authorization: "Basic x",
    "x-a": "1",
  });
});
