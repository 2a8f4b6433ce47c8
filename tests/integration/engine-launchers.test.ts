import { readFileSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import path from "node:path";
import { afterAll, expect, onTestFinished, test, vi } from "vitest";
import { MillraceError } from "../../src/base/errors.ts";
import { silentProgress } from "../../src/base/progress.ts";
import { createEngineLauncher } from "../../src/flow/engines/create-launcher.ts";
import type { ServedSide } from "../../src/flow/flow-plan.ts";
import { serveAndLoad } from "../../src/flow/serve-and-load.ts";
import { stepReport } from "../../src/flow/step-progress.ts";
import { type EndpointLauncher, LaunchError } from "../../src/protocol/endpoint-launcher.ts";
import { makeFolder, removeFolders } from "../e2e/run-cli.ts";
import { repositoryPath } from "../test-data.ts";

afterAll(removeFolders);

const { signal } = new AbortController();

function sideOf(engine: string): ServedSide {
  return {
    name: "scripted",
    modelName: "scripted",
    path: repositoryPath("models/pebble/model"),
    dtype: "auto",
    folder: makeFolder(),
    vocabSize: 2048,
    engine,
  };
}

function scripted(behaviour: string, more = ""): string {
  const script = repositoryPath("tests/scripted-engine.mjs");
  return `command:"${process.execPath}" "${script}" --model {model} --port {port} --behaviour "${behaviour}" ${more}`;
}

function launch(engine: string, readyTimeoutMs = 20_000): EndpointLauncher {
  const launcher = createEngineLauncher(sideOf(engine), { readyTimeoutMs, signal });
  onTestFinished(() => launcher.stop());
  return launcher;
}

const realLauncher = (side: ServedSide): EndpointLauncher =>
  createEngineLauncher(side, { readyTimeoutMs: 20_000, signal });

/** What one round of load on this engine gives. */
function measure(
  engine: string,
  createLauncher = realLauncher,
  side = sideOf(engine),
): ReturnType<typeof serveAndLoad> {
  const load = {
    concurrencies: [2],
    atOnce: [],
    rates: [],
    sweep: 0,
    requestsPerSeat: 1,
    minSeconds: 0,
    requestTimeoutMs: 500,
    inputTokens: 8,
    outputTokens: 4,
  };
  return serveAndLoad(
    { kernels: "none", load },
    { createLauncher, signal },
    { side, report: stepReport("", silentProgress), round: 1 },
  );
}

test("a server is started, waited for, measured and stopped, and its command stands in the record", async () => {
  const record = await measure(scripted("good", "--delay-ms 300"));
  expect(record.readyMs).toBeGreaterThanOrEqual(250);
  expect(record.flags).toContain("--behaviour good --delay-ms 300");
  expect(record.server).toContain("node");
  expect(record.bench.origin.kernels).toBeNull();
  expect(record.bench.stages[0]).toMatchObject({ concurrency: 2, numErrors: 0, outputTokens: 8 * 4 });
  if (process.platform === "linux") expect(record.peakMemoryBytes).toBeGreaterThan(1e6);
  await expect(fetch(record.bench.url)).rejects.toThrow();
});

test("one that ends before it is ready is told with its exit code and last words", async () => {
  const launcher = launch(scripted("crash at start"));
  await launcher.start();
  await expect(launcher.ready()).rejects.toMatchObject({
    fault: "ended by itself",
    message: expect.stringMatching(
      /exit code 3\); its log is \S+\.log\.\nThe last lines of it:\n {2}.*wrong magic$/,
    ) as string,
  });
});

test("of one that ends without a word, the log that has none is named", async () => {
  const launcher = launch(scripted("crash in silence"));
  await launcher.start();
  await expect(launcher.ready()).rejects.toMatchObject({
    message: expect.stringMatching(/\(exit code 4\) and wrote nothing to its log, \S+\.log\.$/) as string,
  });
});

test("one that is never ready is told as slow, with what it answered", async () => {
  const launcher = launch(scripted("never ready"), 1500);
  await launcher.start();
  await expect(launcher.ready()).rejects.toMatchObject({
    fault: "slow to start",
    message: expect.stringContaining("it last answered: HTTP 503") as string,
  });
});

test("one that is killed under load is told as that, not as failed requests", async () => {
  await expect(measure(scripted("crash under load"))).rejects.toMatchObject({
    fault: "ended by itself",
    message: expect.stringContaining("SIGKILL") as string,
  });
});

/** A shell that starts a server and waits for it, as scripts do that set something up first. */
async function startBehindShell(behaviour: string) {
  const run = path.join(makeFolder(), "run.sh");
  const script = repositoryPath("tests/scripted-engine.mjs");
  writeFileSync(run, `"${process.execPath}" "${script}" --port "$2" --behaviour "${behaviour}" &\nwait\n`);
  const launcher = launch(`command:sh "${run}" {model} {port}`);
  const { url, pid } = await launcher.start();
  await launcher.ready();
  return { launcher, url, pid: pid! };
}

test("a server that outlives the shell in front of it is gone when it was stopped", async () => {
  const { launcher, url } = await startBehindShell("ignores SIGTERM");
  await launcher.stop();
  await expect(fetch(url)).rejects.toThrow();
});

test("a server whose shell has died is gone when it was stopped", async () => {
  const { launcher, url, pid } = await startBehindShell("good");
  process.kill(pid, "SIGKILL");
  await launcher.ended;
  expect((await fetch(`${url}/health`)).status).toBe(200);
  await launcher.stop();
  await expect(fetch(url)).rejects.toThrow();
});

/** A launcher of a program that takes no flag for its version, and starts to serve in place of telling it. */
function launchMute(stop: AbortController): EndpointLauncher {
  const program = path.join(makeFolder(), "engine");
  writeFileSync(program, "#!/bin/sh\necho port 8000\nexec sleep 600\n", { mode: 0o755 });
  return createEngineLauncher(sideOf(`vllm=${program}`), { readyTimeoutMs: 20_000, signal: stop.signal });
}

test("a program that does not end when it is asked for its version is ended, and has none", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  onTestFinished(() => void vi.useRealTimers());
  const version = launchMute(new AbortController()).version();
  vi.runAllTimers();
  expect(await version).toBe("vllm of unknown version");
});

test("the signal ends the question for a version", async () => {
  const stop = new AbortController();
  const version = launchMute(stop).version();
  const stopped = new Error("stopped");
  stop.abort(stopped);
  await expect(version).rejects.toBe(stopped);
});

test("one that is killed just after its load is told as that, not as one of which nothing is known", async () => {
  const killed = (side: ServedSide): EndpointLauncher => {
    const launcher = realLauncher(side);
    const started = launcher.start.bind(launcher);
    let pid: number | null = null;
    const start = async () => {
      const endpoint = await started();
      pid = endpoint.pid;
      return endpoint;
    };
    const version = async () => {
      process.kill(pid!, "SIGKILL");
      await launcher.ended;
      return "gone";
    };
    return Object.assign(launcher, { start, version });
  };
  await expect(measure(scripted("good"), killed)).rejects.toMatchObject({
    fault: "ended by itself",
    message: expect.stringContaining("SIGKILL") as string,
  });
});

test("of a fault that is no server's, nobody asks whether a server died", async () => {
  const endless = new Promise<Error>(() => {});
  let numAsked = 0;
  const breaking = (fault: Error) => (side: ServedSide) =>
    Object.defineProperties(realLauncher(side), {
      kvCacheTokens: { value: () => Promise.reject(fault) },
      ended: { get: () => ((numAsked += 1), endless) },
    });
  const engine = scripted("good");
  await expect(measure(engine, breaking(new Error("no room")))).rejects.toThrow("no room");
  const told = new LaunchError("slow to start", "told already");
  await expect(measure(engine, breaking(told))).rejects.toBe(told);
  expect(numAsked).toBe(0);
  const failed = new MillraceError("endpoint_failed", "requests failed");
  await expect(measure(engine, breaking(failed))).rejects.toBe(failed);
  expect(numAsked).toBe(1);
});

test("one that turns every request away is told in its own words", async () => {
  await expect(measure(scripted("full"))).rejects.toThrow(/HTTP 429: too many requests/);
});

test("one that takes requests and never answers is told as that", async () => {
  await expect(measure(scripted("hanging"))).rejects.toThrow(
    /warm-up request .* failed: nothing of an answer came for .* s\./,
  );
});

test("a program that is not there, a model that cannot be read and a key that is missing are told apart", async () => {
  const absent = launch("vllm=/nowhere/vllm");
  await absent.start();
  await expect(absent.ready()).rejects.toMatchObject({ fault: "not installed" });
  expect(() => launch("llama.cpp")).toThrow(/reads one GGUF file/);
  const locked = launch(scripted("wants a key"));
  await locked.start();
  await expect(locked.ready()).rejects.toMatchObject({ fault: "refusing" });
});

test("a program that may not be executed is told as that, with what to do", async () => {
  const program = path.join(makeFolder(), "engine");
  writeFileSync(program, "#!/bin/sh\n", { mode: 0o644 });
  const launcher = launch(`command:"${program}" {model} {port}`);
  await launcher.start();
  await expect(launcher.ready()).rejects.toMatchObject({
    fault: "cannot be started",
    message: `engine cannot be started: ${program} is not a file that this user may execute (EACCES). Allow it with chmod +x, or name another program.`,
  });
});

test("a key goes with all that is asked of a server: of one that is started, and of an address", async () => {
  const withKey = (side: ServedSide): EndpointLauncher =>
    createEngineLauncher(side, { readyTimeoutMs: 20_000, signal, apiKey: "sesame" });
  const started = await measure(scripted("wants a key"), withKey);
  expect(started.bench.stages[0]).toMatchObject({ numErrors: 0 });
  const running = withKey(sideOf(scripted("wants a key")));
  onTestFinished(() => running.stop());
  const { url } = await running.start();
  await running.ready();
  const address = await measure(url, withKey);
  expect(address.bench.stages[0]).toMatchObject({ numErrors: 0 });
  const wrongKey = createEngineLauncher(sideOf(url), { readyTimeoutMs: 20_000, signal, apiKey: "wrong" });
  await expect(wrongKey.ready()).rejects.toThrow(/does not take the key\. Give the right --api-key\./);
});

test("an address that serves no models is told at once, and a key counts where health needs none", async () => {
  let status = 404;
  const server: Server = createServer((request, response) => {
    const isOpen = request.url === "/health" && status === 401;
    response.writeHead(isOpen ? 200 : status).end("{}");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  const { port } = server.address() as { port: number };
  const ready = (): Promise<unknown> => launch(`http://127.0.0.1:${port}`).ready();
  await expect(ready()).rejects.toMatchObject({ fault: "unreachable" });
  status = 401;
  await expect(ready()).rejects.toMatchObject({ fault: "refusing" });
});

test("a whole command in quotes is the same command", async () => {
  const script = repositoryPath("tests/scripted-engine.mjs");
  const quoted = launch(`command:"${process.execPath} ${script} --model {model} --port {port}"`);
  await quoted.start();
  expect(await quoted.ready()).toBeGreaterThan(0);
});

test("no two requests of two measurements of one address begin alike", async () => {
  const prompts: string[] = [];
  const running = launch(scripted("good"));
  const { url } = await running.start();
  await running.ready();
  const proxy = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on("data", (part: Buffer) => parts.push(part));
    request.on("end", () => {
      const body = Buffer.concat(parts);
      if (request.url === "/v1/completions")
        prompts.push((JSON.parse(body.toString()) as { prompt: string }).prompt);
      const { method = "GET" } = request;
      void fetch(url + request.url!, method === "POST" ? { method, body } : {}).then(async (answer) => {
        response.writeHead(answer.status, { "content-type": answer.headers.get("content-type") ?? "" });
        response.end(Buffer.from(await answer.arrayBuffer()));
      });
    });
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void proxy.close());
  const address = `http://127.0.0.1:${(proxy.address() as { port: number }).port}`;
  for (const _ of [1, 2]) await measure(address);
  expect(prompts.length).toBeGreaterThanOrEqual(20);
  expect(new Set(prompts).size).toBe(prompts.length);
});

test("figures of a program are not kept for another of the same name", async () => {
  const folder = makeFolder();
  const program = path.join(folder, "engine");
  const write = (comment: string): void => {
    const script = repositoryPath("tests/scripted-engine.mjs");
    writeFileSync(program, `#!/bin/sh\n# ${comment}\nexec "${process.execPath}" "${script}" "$@"\n`, {
      mode: 0o755,
    });
  };
  const side = sideOf(`command:"${program}" --model {model} --port {port} --behaviour good`);
  const startedAt = async (): Promise<string> =>
    (await measure(side.engine, realLauncher, side)).bench.origin.startedAt;
  write("the first build");
  const first = await startedAt();
  expect(await startedAt()).toBe(first);
  write("another build");
  expect(await startedAt()).not.toBe(first);
});

test("what an interpreter runs tells one build from another: the files of a command, the version of a package", async () => {
  const folder = makeFolder();
  const script = path.join(folder, "serve.py");
  const python = path.join(folder, "python3");
  const idOf = (engine: string): Promise<string | null> => launch(engine).programId();
  const command = `command:"${process.execPath}" "${script}" --model {model} --port {port}`;
  writeFileSync(script, "first");
  const first = await idOf(command);
  expect(await idOf(command)).toBe(first);
  writeFileSync(script, "another");
  expect(await idOf(command)).not.toBe(first);
  // The interpreter reads the version elsewhere, and is the same file before and after.
  writeFileSync(python, `#!/bin/sh\ncat "${folder}/version"\n`, { mode: 0o755 });
  writeFileSync(path.join(folder, "version"), "0.5.1\n");
  const installed = await idOf(`sglang=${python}`);
  expect(await idOf(`sglang=${python}`)).toBe(installed);
  writeFileSync(path.join(folder, "version"), "0.5.2\n");
  expect(await idOf(`sglang=${python}`)).not.toBe(installed);
  expect(await idOf("sglang=/nowhere/python3")).not.toBeNull();
});

test("what an engine was started for is kept, and an address is measured anew", async () => {
  const running = launch(scripted("good"));
  const { url } = await running.start();
  await running.ready();
  const startsOf = async (side: ServedSide): Promise<string[]> => {
    const first = await measure(side.engine, realLauncher, side);
    const second = await measure(side.engine, realLauncher, side);
    return [first.bench.origin.startedAt, second.bench.origin.startedAt];
  };
  expect(new Set(await startsOf(sideOf(url))).size).toBe(2);
  expect(new Set(await startsOf(sideOf(scripted("good")))).size).toBe(1);
});

test("a step whose requests were cut off, at a line's end or inside a line, is measured again", async () => {
  const side = sideOf(scripted("good"));
  const measureOnce = () => measure(side.engine, realLauncher, side);
  const first = await measureOnce();
  const file = path.join(first.folder, "requests_c2.jsonl");
  const text = readFileSync(file, "utf8");
  let earlier = first.bench.origin.startedAt;
  for (const rest of [
    text.slice(0, text.length / 2),
    text.slice(0, text.lastIndexOf("\n", text.length - 2)),
  ]) {
    writeFileSync(file, rest);
    const again = await measureOnce();
    expect(again.bench.origin.startedAt).not.toBe(earlier);
    expect(readFileSync(file, "utf8").split("\n")).toHaveLength(text.split("\n").length);
    earlier = again.bench.origin.startedAt;
  }
  const kept = path.join(first.folder, "serving.json");
  writeFileSync(kept, readFileSync(kept, "utf8").replace(first.folder, "/where/it/was/before"));
  expect(await measureOnce()).toMatchObject({
    folder: first.folder,
    bench: { origin: { startedAt: earlier } },
  });
});

test("an address is measured as it stands: nobody there, and one that speaks no TLS", async () => {
  const server: Server = createServer((_, response) => response.end("{}"));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  const plain = launch(`http://127.0.0.1:${port}`);
  await plain.start();
  expect(await plain.ready()).toBeNull();
  await expect(launch(`https://127.0.0.1:${port}`).ready()).rejects.toMatchObject({ fault: "TLS" });
  await new Promise((resolve) => server.close(resolve));
  await expect(launch(`http://127.0.0.1:${port}/v1/`).ready()).rejects.toMatchObject({
    fault: "unreachable",
  });
});
