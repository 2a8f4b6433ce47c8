import { expect, test } from "vitest";
import { endpointUrlOf, headersOf } from "./endpoint.ts";

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

test.each([
  "http://user:pa55@host:80",
  "https://pa55@host/v1",
  "http://user:pa55@host:80:90",
  "http://user:p@/pa55@host",
  "user:pa55@host",
])("refuses a user and a password in %s, and does not repeat them", (given) => {
  let said = "";
  try {
    endpointUrlOf(given, "--versus");
  } catch (error) {
    said = String(error);
  }
  expect(said).toMatch(/…@host/);
  expect(said).not.toContain("pa55");
});

test("takes a base URL with /v1 and without", () => {
  expect(endpointUrlOf("http://h:1/v1/", "url")).toBe("http://h:1");
  expect(endpointUrlOf("http://h:1", "url")).toBe("http://h:1");
  expect(() => endpointUrlOf("http://u:p@h", "url")).toThrow(/--api-key, or with millrace bench as --header/);
});
