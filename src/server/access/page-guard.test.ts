import { describe, expect, test } from "vitest";
import { createServedFake, replying } from "../../../tests/served-fake.ts";
import { createServerApp } from "../app.ts";
import { openToAllOrigins } from "../cross-origin.ts";
import { type Route, routes, shownPath } from "../routes.ts";
import { ServerContext, type ServerOptions } from "../server-context.ts";

const all = Object.entries<Route>(routes);
const guarded = all.filter(([, route]) => route.isOpen !== true).map(([, route]) => route);

/** The reason why a request is refused; undefined where it is answered, or refused for what it says. */
async function refusalOf(
  route: Route,
  headers: Record<string, string>,
  options: ServerOptions = {},
): Promise<string | undefined> {
  const { model, client } = createServedFake(replying("a"));
  const context = new ServerContext({ models: [model], hasDevEndpoints: true, ...options });
  const response = await createServerApp(context).request(shownPath(route.path).replace("{id}", "fake"), {
    method: route.method,
    headers: { "content-type": "application/json", ...headers },
    ...(route.method === "POST" ? { body: JSON.stringify({ prompt: "p" }) } : {}),
  });
  const reason = /"reason":"(host_not_allowed|origin_not_allowed|unsupported_media_type)"/;
  const refusal = reason.exec(await response.text())?.[1];
  if (refusal !== undefined) {
    expect(client.requests).toHaveLength(0);
    expect(response.status).toBe({ h: 421, o: 403, u: 415 }[refusal[0]!]);
  }
  return refusal;
}

async function refusalsOf(
  among: readonly Route[],
  headers: Record<string, string>,
  options: ServerOptions = {},
): Promise<Set<string | undefined>> {
  return new Set(await Promise.all(among.map((route) => refusalOf(route, headers, options))));
}

const allowing = (...origins: string[]): ServerOptions => ({
  crossOrigin: { ...openToAllOrigins, origins },
});
const evil = "https://evil.example";

describe("a server without keys", () => {
  test.each(all)("%s refuses pages of other sites, unless it is a probe", async (_, route) => {
    const isOpen = route.isOpen === true;
    const ofPage = isOpen ? undefined : "origin_not_allowed";
    for (const origin of [evil, "null", "http://localhost.evil.example", "http://10.0.0.1", "garbage"]) {
      expect(await refusalOf(route, { host: "127.0.0.1:8000", origin }), origin).toBe(ofPage);
    }
    // A page whose own name was led here: of the same origin, as far as the browser knows.
    const rebound = { host: "evil.example:8000", origin: "http://evil.example:8000" };
    expect(await refusalOf(route, rebound)).toBe(isOpen ? undefined : "host_not_allowed");
    expect(await refusalOf(route, { host: "evil.example" })).toBe(isOpen ? undefined : "host_not_allowed");
  });

  test("answers programs by every local name, and pages of this machine", async () => {
    const hosts = [
      "localhost",
      "LOCALHOST:8000",
      "a.localhost:1",
      "127.0.0.1:8000",
      "127.9.9.9",
      "[::1]:8000",
    ];
    for (const host of [...hosts, "192.168.1.7:8000", "host.docker.internal:8000", "localhost."]) {
      expect(await refusalsOf(guarded, { host }), host).toEqual(new Set([undefined]));
    }
    for (const origin of [
      "http://localhost:3000",
      "https://127.0.0.1",
      "http://[::1]:5",
      "http://x.localhost",
    ]) {
      expect(await refusalsOf(guarded, { host: "localhost", origin }), origin).toEqual(new Set([undefined]));
    }
  });

  test("answers the pages of origins that are given, and then no others of this machine", async () => {
    const options = allowing("https://a.example");
    const of = (origin: string) => refusalsOf(guarded, { host: "localhost:80", origin }, options);
    expect(await of("https://a.example")).toEqual(new Set([undefined]));
    expect(await of("http://localhost")).toEqual(new Set([undefined]));
    expect(await of("http://localhost:3000")).toEqual(new Set(["origin_not_allowed"]));
  });

  test("keeps what changes it from pages that come with all others", async () => {
    const admin = guarded.filter(({ scope }) => scope === "admin");
    const others = guarded.filter(({ scope }) => scope !== "admin");
    const headers = { host: "localhost", origin: evil };
    expect(await refusalsOf(admin, headers, allowing("*"))).toEqual(new Set(["origin_not_allowed"]));
    expect(await refusalsOf(others, headers, allowing("*"))).toEqual(new Set([undefined]));
    expect(await refusalsOf(admin, headers, allowing("*", evil))).toEqual(new Set([undefined]));
  });

  test("has the names that are given", async () => {
    const proxied = { host: "llm.example" };
    for (const name of ["LLM.example", "*"]) {
      expect(await refusalsOf(guarded, proxied, { allowedHosts: [name] })).toEqual(new Set([undefined]));
    }
    expect(await refusalsOf(guarded, proxied, { allowedHosts: ["other"] })).toEqual(
      new Set(["host_not_allowed"]),
    );
  });

  test("has any name beyond loopback, but not for pages of others", async () => {
    const beyond = { host: "0.0.0.0" };
    expect(await refusalsOf(guarded, { host: "box.lan" }, beyond)).toEqual(new Set([undefined]));
    const same = { host: "box.lan:80", origin: "http://box.lan" };
    expect(await refusalsOf(guarded, { ...same, host: "box.lan" }, beyond)).toEqual(new Set([undefined]));
    expect(await refusalsOf(guarded, { host: "box.lan", origin: evil }, beyond)).toEqual(
      new Set(["origin_not_allowed"]),
    );
  });

  test("tells browsers of the origins that it answers, and of no others", async () => {
    const { model } = createServedFake();
    const app = createServerApp(new ServerContext({ models: [model] }));
    const named = async (origin: string): Promise<string | null> => {
      const preflight = await app.request("/v1/completions", { method: "OPTIONS", headers: { origin } });
      return preflight.headers.get("access-control-allow-origin");
    };
    expect(await named("http://localhost:3000")).toBe("http://localhost:3000");
    expect(await named(evil)).toBeNull();
  });
});

test("keys keep strangers out by themselves", async () => {
  const headers = { host: "llm.example", origin: evil, authorization: "Bearer k" };
  expect(await refusalsOf(guarded, headers, { apiKeys: ["k"] })).toEqual(new Set([undefined]));
});

test("what changes the server takes JSON only, as pages cannot send it unasked", async () => {
  for (const type of ["text/plain", "application/x-www-form-urlencoded", "application/jsonp"]) {
    for (const route of guarded.filter(({ method }) => method === "POST")) {
      for (const options of [{}, { apiKeys: ["k"] }]) {
        const refusal = await refusalOf(route, { "content-type": type, authorization: "Bearer k" }, options);
        expect(refusal, route.path).toBe(route.scope === "admin" ? "unsupported_media_type" : undefined);
      }
    }
  }
});
