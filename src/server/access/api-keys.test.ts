import { describe, expect, test } from "vitest";
import { createServedFake, replying } from "../../../tests/served-fake.ts";
import { createServerApp } from "../app.ts";
import { type Route, routes, shownPath } from "../routes.ts";
import { ServerContext, type ServerOptions } from "../server-context.ts";
import { checkBind } from "./api-keys.ts";

const keys = [
  { name: "all", key: "all-key" },
  { name: "asker", key: "inference-key", scopes: ["inference"] },
  { name: "scraper", key: "metrics-key", scopes: ["metrics"] },
] as const;

function createApp(options: ServerOptions = {}) {
  const fake = createServedFake(replying("a"));
  const context = new ServerContext({
    models: [fake.model],
    apiKeys: keys,
    guardsMetrics: true,
    hasDevEndpoints: true,
    ...options,
  });
  return { ...fake, app: createServerApp(context) };
}

/** 401 and 403 come from the key alone; whatever else comes is the route's own. */
async function statusOf(route: Route, key: string | null, options: ServerOptions = {}): Promise<number> {
  const { app } = createApp(options);
  const response = await app.request(shownPath(route.path).replace("{id}", "fake"), {
    method: route.method,
    ...(route.method === "POST" ? { body: "{}" } : {}),
    headers: key === null ? {} : { authorization: `Bearer ${key}` },
  });
  return response.status;
}

const all = Object.entries<Route>(routes);

describe("every route", () => {
  test("that is open to all is a probe", () => {
    const open = all.filter(([, route]) => route.isOpen === true).map(([name]) => name);
    expect(open).toEqual(["health", "ready", "live"]);
  });

  test.each(all)("%s wants a key with its scope", async (_, route) => {
    const needed = route.isOpen === true ? null : (route.scope ?? "inference");
    for (const key of [null, "wrong", "all-key ", "ALL-KEY"]) {
      const isRefused = (await statusOf(route, key)) === 401;
      expect(isRefused, String(key)).toBe(needed !== null && key !== "all-key ");
    }
    for (const key of ["all-key", "inference-key", "metrics-key"]) {
      const isRefused = (await statusOf(route, key)) === 403;
      expect(isRefused, key).toBe(needed !== null && key !== "all-key" && key !== `${needed}-key`);
    }
  });

  test.each(all)("%s refuses what it does not take only after the key", async (_, route) => {
    const { app } = createApp();
    const response = await app.request(shownPath(route.path).replace("{id}", "fake"), { method: "DELETE" });
    expect(response.status).toBe(405);
  });

  test("figures of the server are open where they are not guarded", async () => {
    const figures = all.filter(([, route]) => route.scope === "metrics");
    expect(figures.map(([name]) => name)).toEqual([
      "version",
      "load",
      "openApi",
      "docs",
      "metrics",
      "isSleeping",
    ]);
    for (const [, route] of figures) expect(await statusOf(route, null, { guardsMetrics: false })).toBe(200);
  });
});

test("a key stands for its priority, tenant and salt, whatever the request says", async () => {
  const own = { name: "team", key: "k", priority: 5, tenant: "team", cacheSalt: "salt" };
  const { app, client } = createApp({ apiKeys: [own] });
  const ask = async (body: object): Promise<unknown> => {
    const headers = { authorization: "Bearer k", "x-tenant": "other" };
    const given = JSON.stringify({ prompt: "p", max_tokens: 1, ...body });
    expect((await app.request("/v1/completions", { method: "POST", headers, body: given })).status).toBe(200);
    return client.requests.at(-1)?.scheduling;
  };
  expect(await ask({ tenant: "another" })).toMatchObject({ priority: 5, tenant: "team", cacheSalt: "salt" });
  expect(await ask({ priority: -9 })).toMatchObject({ priority: 5 });
  expect(await ask({ priority: 9 })).toMatchObject({ priority: 9 });
  const salted = (await ask({ cache_salt: "mine" })) as { cacheSalt: string };
  expect(salted.cacheSalt).toMatch(/^[0-9a-f]{64}$/);
  expect(salted.cacheSalt).not.toBe(
    ((await ask({ cache_salt: "yours" })) as { cacheSalt: string }).cacheSalt,
  );
});

test("a key may be given by its digest alone", async () => {
  // SHA-256 of "secret".
  const sha256 = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
  const { app } = createApp({ apiKeys: [{ name: "hidden", sha256 }] });
  const ask = (key: string) => app.request("/v1/models", { headers: { "x-api-key": key } });
  expect((await ask("secret")).status).toBe(200);
  expect((await ask(sha256)).status).toBe(401);
});

describe("an address to listen on", () => {
  test.each(["127.0.0.1", "127.9.9.9", "localhost", "::1", "[::1]"])("%s needs no key", (host) => {
    expect(() => checkBind(host, 0, false)).not.toThrow();
  });

  test.each(["0.0.0.0", "::", "", "192.168.0.1", "example.org", "127.0.0.1.example.org"])(
    "%j needs one",
    (host) => {
      expect(() => checkBind(host, 0, false)).toThrow("Give --api-key or --api-keys-file");
      expect(() => checkBind(host, 1, false)).not.toThrow();
      expect(() => checkBind(host, 0, true)).not.toThrow();
    },
  );
});
