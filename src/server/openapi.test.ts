import { Ajv2020 } from "ajv/dist/2020.js";
import { describe, expect, test } from "vitest";
import { createServedFake } from "../../tests/served-fake.ts";
import { createServerApp } from "./app.ts";
import { endpointBodies } from "./endpoint-bodies.ts";
import { type Route, routes, shownPath } from "./routes.ts";
import { ServerContext } from "./server-context.ts";

interface Operation {
  readonly summary: string;
  readonly security: readonly unknown[];
  readonly requestBody?: { readonly content: { readonly "application/json": { readonly schema: object } } };
}

type Paths = Readonly<Record<string, Readonly<Record<string, Operation>>>>;

async function readPaths(hasDevEndpoints = false): Promise<Paths> {
  const context = new ServerContext({ models: [createServedFake().model], hasDevEndpoints });
  const document = (await (await createServerApp(context).request("/openapi.json")).json()) as {
    openapi: string;
    paths: Paths;
  };
  expect(document.openapi).toBe("3.1.0");
  return document.paths;
}

describe("the OpenAPI document", () => {
  test("has every path of the server, and those of --dev-endpoints only with it", async () => {
    for (const withDev of [false, true]) {
      const paths = await readPaths(withDev);
      const shown = Object.entries(paths).flatMap(([path, methods]) =>
        Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
      );
      const served = Object.values<Route>(routes).filter(({ isDev }) => withDev || isDev !== true);
      expect(shown).toEqual(served.map(({ method, path }) => `${method} ${shownPath(path)}`));
    }
  });

  const ajv = new Ajv2020({ strict: false });
  const cases: [keyof typeof endpointBodies, object, object][] = [
    ["chat", { messages: [{ role: "user", content: "a" }], temperature: 1 }, { messages: [] }],
    ["completions", { prompt: "a", stop: ["b"] }, { prompt: "a", stop: [1] }],
    ["responses", { input: [{ role: "user", content: "a" }] }, { input: 5 }],
    ["messages", { max_tokens: 5, messages: [{ role: "user", content: "a" }] }, { messages: [] }],
    ["rerank", { query: "a", documents: ["b", { text: "c" }] }, { query: "a", documents: [] }],
  ];
  test.each(cases)("describes the body of %s as the server reads it", async (name, good, bad) => {
    const { path } = routes[name];
    const { requestBody } = (await readPaths())[path]!["post"]!;
    const isValid = ajv.compile(requestBody!.content["application/json"].schema);
    expect([isValid(good), isValid(bad)]).toEqual([true, false]);
    const { schema } = endpointBodies[name]!;
    expect([schema.safeParse(good).success, schema.safeParse(bad).success]).toEqual([true, false]);
  });
});

test("the page for people has every path and field, and loads nothing", async () => {
  const app = createServerApp(new ServerContext({ models: [createServedFake().model] }));
  const response = await app.request("/docs");
  expect(response.headers.get("content-type")).toContain("text/html");
  const page = await response.text();
  for (const { path, isDev } of Object.values<Route>(routes)) {
    expect(page.includes(`${shownPath(path)}<`), path).toBe(isDev !== true);
  }
  for (const field of Object.keys(endpointBodies.chat!.schema.shape))
    expect(page).toContain(`<code>${field}</code>`);
  expect(page).not.toMatch(/<script|src=|https?:/);
});
