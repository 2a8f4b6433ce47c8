import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { resolveComponent } from "../config/component.ts";
import { accessSettings } from "../config/server-settings.ts";
import { accessOptionsOf } from "./serve-access.ts";

let folder = "";

beforeAll(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), "millrace-access-"));
});

afterAll(() => rmSync(folder, { recursive: true }));

function write(text: string): string {
  const file = path.join(folder, "keys.yaml");
  writeFileSync(file, text);
  return file;
}

function read(given: Record<string, unknown>, host = "127.0.0.1", policy = "fcfs") {
  return accessOptionsOf(resolveComponent(accessSettings, given, {}), host, policy);
}

const oneKey = `
keys:
  - name: team
    key: long-enough
    scopes: [inference]
    tokens-per-minute: 100
    max-concurrency: 2
    priority: 5
    cache-salt: own
`;

describe("who may use the server", () => {
  test("is told by flags and by the file", async () => {
    const given = {
      apiKey: ["k"],
      apiKeysFile: write(oneKey),
      maxConcurrency: "9",
      allowedOrigins: "https://a",
    };
    expect(await read(given, "127.0.0.1", "priority")).toEqual({
      apiKeys: [
        "k",
        {
          name: "team",
          key: "long-enough",
          scopes: ["inference"],
          limits: { tokensPerMinute: 100, maxConcurrency: 2 },
          priority: 5,
          cacheSalt: "own",
        },
      ],
      isInsecure: false,
      guardsMetrics: false,
      limits: { maxConcurrency: 9 },
      crossOrigin: { origins: ["https://a"], methods: ["*"], headers: ["*"], allowsCredentials: false },
      allowedHosts: [],
    });
  });

  test("leaves pages of other sites out where there are no keys, unless it is said otherwise", async () => {
    const origins = async (given: Record<string, unknown>) => (await read(given)).crossOrigin?.origins;
    expect(await origins({})).toEqual(["loopback"]);
    expect(await origins({ apiKey: ["k"] })).toEqual(["*"]);
    expect(await origins({ allowedOrigins: "loopback,https://a.example:1" })).toEqual([
      "loopback",
      "https://a.example:1",
    ]);
    for (const wrong of ["a.example", "https://a.example/", '["*", "http://"]']) {
      await expect(origins({ allowedOrigins: wrong }), wrong).rejects.toThrow("is no origin; one is like");
    }
  });

  test("figures are guarded beyond loopback unless it is said otherwise", async () => {
    const guards = async (host: string, metricsAuth: string) =>
      (await read({ metricsAuth }, host)).guardsMetrics;
    expect([await guards("0.0.0.0", "auto"), await guards("::1", "auto")]).toEqual([true, false]);
    expect([await guards("0.0.0.0", "off"), await guards("::1", "on")]).toEqual([false, true]);
  });

  test("a priority that nothing reads is refused at once", async () => {
    await expect(read({ apiKeysFile: write(oneKey) })).rejects.toThrow(
      "The key team has priority 5, but --scheduling-policy fcfs reads none.",
    );
  });

  test("a file that is no YAML is refused without showing what is in it", async () => {
    const refused = read({ apiKeysFile: write("keys: [{name: a, key: secret-secret") });
    await expect(refused).rejects.toThrow("is no YAML");
    await expect(refused).rejects.not.toThrow("secret-secret");
  });
});
