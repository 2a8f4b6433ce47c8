import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import https from "node:https";
import path from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import {
  childrenOf,
  endProcesses,
  freePort,
  makeFolder,
  pebble,
  removeFolders,
  runCli,
  startCli,
  startServe,
  untilReady,
} from "./run-cli.ts";

afterAll(() => {
  endProcesses();
  removeFolders();
});

function writeFile(name: string, text: string): string {
  const file = path.join(makeFolder(), name);
  writeFileSync(file, text);
  return file;
}

describe("settings", () => {
  test("come from a file, and config explain says so", async () => {
    const file = writeFile(
      "serve.yaml",
      "max_num_seqs: 7\nserved-model-name: [one, two]\nlog-format: json\n",
    );
    const { stdout, exitCode } = await runCli("config", "explain", "--json", "--config", file, "--port", "9");
    expect(exitCode).toBe(0);
    const settings = JSON.parse(stdout) as { flag: string; value: unknown; source: string }[];
    const of = (name: string) => settings.find(({ flag }) => flag === name);
    expect(of("--max-num-seqs")).toEqual({ flag: "--max-num-seqs", value: 7, source: file });
    expect(of("--port")).toEqual({ flag: "--port", value: 9, source: "flag" });
    expect(of("--host")).toEqual({ flag: "--host", value: "127.0.0.1", source: "default" });
    const server = await startServe(pebble, "--port", "0", "--config", file, "--access-log");
    await untilReady(server.url);
    const response = await fetch(`${server.url}/v1/models`, { headers: { "x-request-id": "me" } });
    const { data } = (await response.json()) as { data: { id: string }[] };
    expect(data.map(({ id }) => id)).toEqual(["one", "two"]);
    expect(await server.stop()).toBe(0);
    const lines = server
      .log()
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    const line = lines.find(({ requestId }) => requestId === "me");
    expect(line).toMatchObject({ msg: "Request answered.", method: "GET", path: "/v1/models", status: 200 });
  });

  test("that no flag has are refused with the nearest one", async () => {
    const file = writeFile("serve.yaml", "max-num-seq: 7\n");
    const { stderr, exitCode } = await runCli("serve", pebble, "--config", file);
    expect(exitCode).toBe(2);
    expect(stderr).toContain('sets "max-num-seq", which is no flag here. The nearest is max-num-seqs.');
  });
});

test("variables that are no settings are told, and config explain takes a model", async () => {
  const env = { MILLRACE_MAX_NUM_SEQ: "3" };
  const told = "The variable MILLRACE_MAX_NUM_SEQ is no setting and changes nothing.";
  const { stdout, stderr, exitCode } = await startCli({ env }, "config", "explain", pebble, "--json").end;
  expect([exitCode, stderr]).toEqual([0, expect.stringContaining(told)]);
  const own = { flag: "--served-model-name", value: ["pebble"], source: "model" };
  expect(JSON.parse(stdout)).toContainEqual(own);
  const server = startCli({ env }, "serve", pebble, "--port", "0");
  await server.says(/The nearest that is one is MILLRACE_MAX_NUM_SEQS\.[^]*Ready: pebble/);
  server.interrupt();
  expect((await server.end).exitCode).toBe(0);
});

test("a file that is no YAML is refused with the place of its fault, in one line", async () => {
  const file = writeFile("serve.yaml", "port: 8000: 9000\n");
  const { stderr, exitCode } = await runCli("serve", pebble, "--config", file);
  expect(exitCode).toBe(2);
  expect(stderr).toMatch(/is no YAML: .* at line 1, column \d+\. Correct it\. \[invalid_option\]\n$/);
  expect(stderr.trim()).not.toContain("\n");
});

describe("keys", () => {
  test("of a file open what they say, and prompts reach the log only where they are asked for", async () => {
    const key = "a-long-random-key";
    const file = writeFile("keys.yaml", `keys: [{name: team, key: ${key}, requests-per-minute: 2}]\n`);
    for (const flags of [[], ["--enable-log-requests"]]) {
      const server = await startServe(
        pebble,
        "--port",
        "0",
        "--api-keys-file",
        file,
        "--access-log",
        ...flags,
      );
      await untilReady(server.url);
      const ask = (headers: Record<string, string>) =>
        fetch(`${server.url}/v1/completions`, {
          method: "POST",
          headers,
          body: JSON.stringify({ prompt: "Mia has a secret", max_tokens: 2 }),
        });
      const authorization = { authorization: `Bearer ${key}` };
      const statuses = [
        await ask({}),
        await ask(authorization),
        await ask(authorization),
        await ask(authorization),
      ];
      expect(statuses.map(({ status }) => status)).toEqual([401, 200, 200, 429]);
      await server.stop();
      expect(server.log()).not.toContain(key);
      expect(server.log()).toMatch(/Request answered\. .*status=429 .*key=team/);
      expect(server.log().includes("Mia has a secret")).toBe(flags.length > 0);
    }
  });
});

test("TLS is spoken with a certificate and its key", async () => {
  const folder = makeFolder();
  const [cert, key] = [path.join(folder, "cert.pem"), path.join(folder, "key.pem")];
  const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"];
  const request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", ...subject];
  execFileSync("openssl", [...request, "-keyout", key, "-out", cert], { stdio: "ignore" });
  const lonely = await runCli("serve", pebble, "--ssl-certfile", cert);
  expect([lonely.exitCode, lonely.stderr]).toEqual([2, expect.stringContaining("--ssl-keyfile is missing")]);
  const swapped = await runCli("serve", pebble, "--port", "0", "--ssl-certfile", key, "--ssl-keyfile", cert);
  expect([swapped.exitCode, swapped.stderr]).toEqual([2, expect.stringContaining("cannot be used")]);
  const port = await freePort();
  const server = startCli("serve", pebble, "--port", port, "--ssl-certfile", cert, "--ssl-keyfile", key);
  await server.says(/Listening on https:\/\/127\.0\.0\.1:\d+/);
  const status = await new Promise<number | undefined>((resolve, reject) => {
    const options = { ca: readFileSync(cert), agent: false };
    https
      .get(`https://127.0.0.1:${port}/live`, options, (response) => resolve(response.statusCode))
      .on("error", reject);
  });
  expect(status).toBe(200);
  const plain = await fetch(`http://127.0.0.1:${port}/live`);
  expect([plain.status, await plain.text()]).toEqual([400, expect.stringContaining("Use https://")]);
  // Before that, a signal ends the load without a word.
  await server.says(/Ready: pebble/);
  server.interrupt();
  expect((await server.end).exitCode).toBe(0);
});

test("--restart brings the server back on its port after a crash, and ends with it on a signal", async () => {
  const server = startCli("serve", pebble, "--port", "0", "--restart");
  await server.says(/Ready: pebble/);
  const url = /Listening on (\S+)/.exec(server.log())![1]!;
  const [child] = childrenOf(server.pid);
  process.kill(child!, "SIGSEGV");
  await server.says(/The server ended by SIGSEGV; it starts again in 250 ms\.[^]*Ready: pebble/);
  await untilReady(url);
  expect(childrenOf(server.pid)).not.toContain(child);
  server.interrupt();
  expect((await server.end).exitCode).toBe(0);
  await expect(fetch(url)).rejects.toThrow();
});

test("--restart does not try again what is refused", async () => {
  const { exitCode, stderr } = await runCli("serve", "nowhere.gguf", "--restart");
  expect(exitCode).toBe(3);
  expect(stderr).not.toContain("starts again");
});
