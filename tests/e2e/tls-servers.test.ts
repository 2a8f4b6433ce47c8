// Servers by https: whom the commands that ask them trust.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer as createPlainServer, type RequestListener } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo, Server } from "node:net";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { expectRefusal } from "./expect-refusal.ts";
import { runCli } from "./run-cli.ts";

const numTokens = 3;
const folder = mkdtempSync(path.join(os.tmpdir(), "millrace-tls-"));
const cert = path.join(folder, "cert.pem");
let server: Server;
let url = "";

const answer: RequestListener = (request, response) => {
  if (request.url === "/v1/models") {
    response.end(JSON.stringify({ data: [{ id: "scripted", max_model_len: 512 }] }));
    return;
  }
  if (request.url === "/v1/chat/completions") {
    response.end(JSON.stringify({ choices: [{ message: { content: "12" }, finish_reason: "stop" }] }));
    return;
  }
  if (request.url !== "/v1/completions") {
    response.writeHead(404).end();
    return;
  }
  response.writeHead(200, { "content-type": "text/event-stream" });
  for (let i = 0; i < numTokens; i += 1)
    response.write(`data: ${JSON.stringify({ choices: [{ text: "a", finish_reason: null }] })}\n\n`);
  const usage = { prompt_tokens: 8, completion_tokens: numTokens };
  response.end(`data: ${JSON.stringify({ choices: [], usage })}\n\ndata: [DONE]\n\n`);
};

beforeAll(async () => {
  const key = path.join(folder, "key.pem");
  const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"];
  const files = ["-keyout", key, "-out", cert];
  const made = spawnSync("openssl", ["req", "-x509", "-newkey", "rsa:2048", "-nodes", ...subject, ...files]);
  expect(made.status).toBe(0);
  server = createServer({ key: readFileSync(key), cert: readFileSync(cert) }, answer);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterAll(() => {
  server.close();
  rmSync(folder, { recursive: true });
});

const load = ["--concurrency", "2", "--min-seconds", "0", "--output-tokens", `${numTokens}`, "--json"];

describe("bench", () => {
  test("refuses a certificate that nobody vouches for, and says what to do", async () => {
    const { stderr, exitCode } = await runCli("bench", url, ...load);
    expect(exitCode).not.toBe(0);
    expect(stderr).toMatch(/not trusted: self-signed certificate/);
    expect(stderr).toContain("--ca FILE");
    // With a model's name nobody asks for the list first: the load itself meets it.
    const named = await runCli("bench", url, "--model", "scripted", ...load);
    expect(named.stderr).toMatch(/not trusted: self-signed certificate.*--insecure/s);
  });

  test.each([["--ca", cert], ["--insecure"]])("loads it with %s", async (...trust) => {
    const { stdout } = await runCli("bench", url, ...load, ...trust);
    const { stages } = JSON.parse(stdout) as { stages: { numErrors: number; outputTokens: number }[] };
    expect(stages[0]).toMatchObject({ numErrors: 0, outputTokens: 8 * numTokens });
  });

  test("loads it from threads too", async () => {
    const { stdout } = await runCli("bench", url, ...load, "--ca", cert, "--client-threads", "2");
    expect(JSON.parse(stdout)).toMatchObject({ stages: [{ numErrors: 0 }] });
  });

  test("a server without TLS behind an https URL is called that", async () => {
    const plain = createPlainServer(answer);
    await new Promise<void>((resolve) => plain.listen(0, "127.0.0.1", resolve));
    try {
      const { port } = plain.address() as AddressInfo;
      const { stderr } = await runCli("bench", `https://127.0.0.1:${port}`, ...load);
      expect(stderr).toContain("does not speak TLS; take http://");
    } finally {
      plain.closeAllConnections();
      plain.close();
    }
  });

  test("a --ca that is no certificate is refused before anything is sent", async () => {
    const file = path.join(folder, "not.pem");
    writeFileSync(file, "hello");
    const args = ["bench", url, ...load, "--ca", file];
    await expectRefusal(folder, { args, code: "invalid_option", exitCode: 2, says: [file, "PEM", "--ca"] });
  });
});

test("evaluate --url trusts and refuses by the same flags", async () => {
  const tasks = ["--tasks", "gsm8k", "--limit", "2", "--data", "../shared/data", "--chat"];
  const refused = await runCli("evaluate", "--url", url, ...tasks);
  expect(refused.stderr).toMatch(/not trusted: self-signed certificate/);
  const { stdout } = await runCli("evaluate", "--url", url, ...tasks, "--ca", cert);
  expect(stdout).toContain("gsm8k");
});
