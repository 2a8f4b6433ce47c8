import { existsSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import { repositoryPath } from "../test-data.ts";
import {
  type CliRun,
  endProcesses,
  makeFolder,
  pebble,
  removeFolders,
  runCli,
  startCli,
  startServe,
  untilReady,
} from "./run-cli.ts";

let server: Server | null = null;

afterEach(() => {
  server?.closeAllConnections();
  server?.close();
  server = null;
});

afterAll(() => {
  endProcesses();
  removeFolders();
});

/** A server whose streams never end; `onRequest` hears of each. */
async function listenForever(onRequest: () => void): Promise<string> {
  server = createServer((request, response) => {
    if (request.url === "/v1/models") {
      response.end(JSON.stringify({ data: [{ id: "endless" }] }));
    } else if (request.url === "/tokenize") {
      response.writeHead(404).end();
    } else {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write(`data: ${JSON.stringify({ choices: [{ text: "a", finish_reason: null }] })}\n\n`);
      onRequest();
    }
  });
  await new Promise<void>((resolve) => server!.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function expectNoTrace(run: CliRun): void {
  expect(run.stderr).not.toMatch(/^\s+at .+:\d+:\d+\)?$/m);
  expect(run.stderr).not.toContain("fault of Millrace");
}

function expectPlainEnd(run: CliRun): void {
  expectNoTrace(run);
  expect(run.stdout).toBe("");
}

function expectInterrupted(run: CliRun): void {
  expectPlainEnd(run);
  expect(run.exitCode, run.stderr).toBe(130);
  expect(run.stderr.trimEnd()).toMatch(/\[interrupted\]$/);
}

/** Files below a folder, temporary ones too. */
function filesIn(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder, { recursive: true, encoding: "utf8" }) : [];
}

/** Whether a `millrace serve` with this word among its arguments runs. From Linux's process table. */
function isServed(word: string): boolean {
  return readdirSync("/proc").some((entry) => {
    if (!/^\d+$/.test(entry)) return false;
    const words = commandOf(entry);
    return words.includes("serve") && words.includes(word);
  });
}

function commandOf(pid: string): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
  } catch (error) {
    // The process ended in between.
    if (["ENOENT", "ESRCH"].includes((error as NodeJS.ErrnoException).code!)) return [];
    throw error;
  }
}

const small = ["--input-tokens", "16", "--output-tokens", "8", "--concurrency", "1"];
const long = [...small, "--min-seconds", "600"];
const oneRound = ["--rounds", "1"];

/** Large enough that writing it takes a while. */
const bigConfig = {
  architectures: ["LlamaForCausalLM"],
  model_type: "llama",
  hidden_size: 1024,
  intermediate_size: 4096,
  num_hidden_layers: 8,
  num_attention_heads: 8,
  num_key_value_heads: 8,
  vocab_size: 1024,
  max_position_embeddings: 128,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  hidden_act: "silu",
  tie_word_embeddings: true,
};

describe("Ctrl-C", () => {
  test.each(["SIGINT", "SIGHUP"])("as %s ends bench while its warm-up hangs", async (signal) => {
    const out = path.join(makeFolder(), "load");
    let heard = (): void => {};
    const request = new Promise<void>((resolve) => {
      heard = resolve;
    });
    const bench = startCli("bench", await listenForever(() => heard()), "--out", out);
    await request;
    process.kill(bench.pid, signal);
    expectInterrupted(await bench.end);
    expect(filesIn(out)).toEqual([]);
  });

  test("ends bench in mid-load, without a record of the load", async () => {
    const out = path.join(makeFolder(), "load");
    const served = await startServe(pebble, "--port", "0");
    await untilReady(served.url);
    const bench = startCli("bench", served.url, ...long, "--out", out);
    await bench.says(/^warm-up done/m);
    bench.interrupt();
    expectInterrupted(await bench.end);
    expect(filesIn(out)).toEqual([]);
    // The server outlives its load.
    expect((await fetch(`${served.url}/health`)).status).toBe(200);
    expect(await served.stop()).toBe(0);
  });

  test("ends bench in a later stage, and keeps those before", async () => {
    const out = path.join(makeFolder(), "load");
    const served = await startServe(pebble, "--port", "0");
    await untilReady(served.url);
    const rate = ["--request-rate", "0.01", "--num-requests", "8"];
    const bench = startCli("bench", served.url, ...small, "--min-seconds", "0", ...rate, "--out", out);
    await bench.says(/^1 in flight: /m);
    bench.interrupt();
    const run = await bench.end;
    expectNoTrace(run);
    expect(run.exitCode, run.stderr).toBe(130);
    expect(run.stdout).toContain("Prompt tokens: 16 asked for");
    expect(filesIn(out).toSorted()).toEqual([
      "bench.json",
      "guidellm.json",
      "requests_c1.jsonl",
      "vllm_c1.json",
    ]);
    expect(await served.stop()).toBe(0);
  });

  test.skipIf(process.platform !== "linux")(
    "ends the flow in mid-load with its server, and keeps only whole steps",
    async () => {
      const out = path.join(makeFolder(), "flow");
      const name = "interrupted-flow";
      const model = path.join(makeFolder(), name);
      symlinkSync(pebble, model);
      const flow = startCli("flow", model, "--tasks", "none", ...long, ...oneRound, "--out", out);
      await flow.says(/^\[2\/3\] base: warm-up done/m);
      expect(isServed(name)).toBe(true);
      flow.interrupt();
      expectInterrupted(await flow.end);
      expect(isServed(name)).toBe(false);
      expect(filesIn(out)).not.toContainEqual(expect.stringMatching(/serving\.json|comparison|requests/));

      const next = await runCli(
        "flow",
        model,
        "--tasks",
        "none",
        ...small,
        ...oneRound,
        "--min-seconds",
        "0",
        "--out",
        out,
      );
      expect(next.exitCode, next.stderr).toBe(0);
      expect(next.stderr).toContain("[1/3] w8a8: kept from an earlier run");
      expect(filesIn(out)).toContain("comparison.json");
    },
  );

  test("ends the flow in mid-evaluation, and the next run goes on from its answers", async () => {
    const out = path.join(makeFolder(), "flow");
    const answersFile = (): string | undefined =>
      filesIn(out).find((name) => /base.answers\.jsonl$/.test(name));
    const numAnswers = (): number => {
      const file = answersFile();
      return file === undefined ? 0 : readFileSync(path.join(out, file), "utf8").split("\n").length - 1;
    };
    const command = ["flow", "--tasks", "pebble", ...small, ...oneRound, "--min-seconds", "0", "--out", out];
    const flow = startCli(...command);
    await expect.poll(numAnswers, { interval: 2, timeout: 60_000 }).toBeGreaterThan(20);
    flow.interrupt();
    const end = await flow.end;
    expectInterrupted(end);
    expect(end.stderr).toMatch(/finished steps are kept, and an evaluation goes on/);
    // An answer that no model gives shows where the next run takes it from.
    const answers = path.join(out, answersFile()!);
    const kept = readFileSync(answers, "utf8");
    writeFileSync(answers, kept.replace(/"logLikelihood":[-\d.e]+/, '"logLikelihood":-12345.5'));
    const run = await runCli(...command);
    expect(run.exitCode, run.stderr).toBe(0);
    expect(run.stderr).toContain("[1/5] w8a8: kept from an earlier run");
    const samples = filesIn(out).find((name) => /base.*samples_pebble_/.test(name))!;
    expect(readFileSync(path.join(out, samples), "utf8")).toContain("-12345.5");
    expect(filesIn(out)).not.toContainEqual(expect.stringMatching(/answers\.jsonl/));
  });

  const inMidLoad = async (name: string, ...flags: string[]): Promise<ReturnType<typeof startCli>> => {
    const folder = makeFolder();
    const model = path.join(folder, name);
    symlinkSync(pebble, model);
    const out = ["--out", path.join(folder, "out")];
    const flow = startCli("flow", model, "--tasks", "none", ...long, ...oneRound, ...out, ...flags);
    await flow.says(/^\[\d\/\d\] base.*: warm-up done/m);
    return flow;
  };

  test.skipIf(process.platform !== "linux")(
    "a second one ends the flow at once, with its server",
    async () => {
      // A server that does not stop when it is asked to: the clean end of the flow waits for it.
      const behaviour = "ignores SIGTERM";
      const script = repositoryPath("tests/scripted-engine.mjs");
      const engine = `command:"${process.execPath}" "${script}" --port {port} --model {model} --behaviour "${behaviour}"`;
      const isRunning = (): boolean =>
        readdirSync("/proc").some((entry) => /^\d+$/.test(entry) && commandOf(entry).includes(behaviour));
      const flow = await inMidLoad("ended-flow", "--schemes", "bf16", "--engine", engine);
      expect(isRunning()).toBe(true);
      flow.interrupt();
      await flow.says(/Press Ctrl-C again/);
      // Sooner it would count as the same one.
      await pause(600);
      flow.interrupt();
      const end = await flow.end;
      expect(end.exitCode).toBe(130);
      expect(end.stderr).not.toContain("[interrupted]");
      await expect.poll(isRunning).toBe(false);
    },
  );

  test.skipIf(process.platform !== "linux")("a flow that is killed takes its server with it", async () => {
    const flow = await inMidLoad("killed-flow");
    expect(isServed("killed-flow")).toBe(true);
    process.kill(flow.pid, "SIGKILL");
    await flow.end;
    await expect.poll(() => isServed("killed-flow")).toBe(false);
  });
});

describe("Ctrl-C while a model is written", () => {
  const makeBig = async (folder: string): Promise<string> => {
    const model = path.join(folder, "big");
    const config = path.join(folder, "config.json");
    writeFileSync(config, JSON.stringify(bigConfig));
    const made = await runCli("convert", config, "--load-format", "dummy", "--out", model);
    expect(made.exitCode, made.stderr).toBe(0);
    return model;
  };

  test("convert says so and leaves nothing", async () => {
    const folder = makeFolder();
    const model = await makeBig(folder);
    const before = filesIn(folder);
    const run = startCli("convert", model, "--out", path.join(folder, "big.gguf"));
    await expect.poll(() => filesIn(folder).length, { timeout: 60_000 }).toBeGreaterThan(before.length);
    run.interrupt();
    const end = await run.end;
    expectInterrupted(end);
    expect(end.stderr).toMatch(/Nothing was written/);
    expect(filesIn(folder)).toEqual(before);
  });

  test("quantize goes on where it was, also after a kill, and gives the same bytes", async () => {
    const folder = makeFolder();
    const model = await makeBig(folder);
    const quantizeTo = (out: string): readonly string[] => [
      "quantize",
      model,
      "--method",
      "rtn",
      "--out",
      path.join(folder, out),
    ];
    const whole = await runCli(...quantizeTo("whole"));
    expect(whole.exitCode, whole.stderr).toBe(0);
    const journal = path.join(folder, "stopped.partial", ".millrace-partial");
    const numLines = (): number =>
      existsSync(journal) ? readFileSync(journal, "utf8").split("\n").length : 0;
    const killed = startCli(...quantizeTo("stopped"));
    await expect.poll(numLines, { timeout: 60_000, interval: 5 }).toBeGreaterThan(2);
    killed.kill();
    await killed.end;
    const linesOfKilled = numLines();
    const stopped = startCli(...quantizeTo("stopped"));
    await expect.poll(numLines, { timeout: 60_000, interval: 5 }).toBeGreaterThan(linesOfKilled);
    stopped.interrupt();
    const end = await stopped.end;
    expectInterrupted(end);
    expect(end.stderr).toMatch(/stopped\.partial\. Run the same command again to go on/);
    const last = await runCli(...quantizeTo("stopped"));
    expect(last.exitCode, last.stderr).toBe(0);
    expect(last.stderr).toMatch(/matrices are of a run that was interrupted/);
    const weights = (name: string): Buffer => readFileSync(path.join(folder, name, "model.safetensors"));
    expect(weights("stopped").equals(weights("whole"))).toBe(true);
  });

  test("quantize stops while it goes over a calibration text", async () => {
    const folder = makeFolder();
    const model = await makeBig(folder);
    const file = path.join(folder, "ids.json");
    const sequences = Array.from({ length: 512 }, () => Array.from({ length: 64 }, (_, id) => id));
    writeFileSync(
      file,
      JSON.stringify({ kind: "calibration-tokens", formatVersion: 1, source: "ids", sequences }),
    );
    const out = path.join(folder, "out");
    const run = startCli("quantize", model, "--method", "gptq", "--calibration", file, "--out", out);
    await run.says(/^This takes at most/m);
    run.interrupt();
    const end = await run.end;
    expectInterrupted(end);
    expect(end.stderr).not.toMatch(/^calibrate /m);
  });
});

describe("a server that is killed under load", () => {
  test("fails bench with its URL and what to do", async () => {
    const out = path.join(makeFolder(), "load");
    const served = await startServe(pebble, "--port", "0");
    await untilReady(served.url);
    const bench = startCli("bench", served.url, ...long, "--out", out);
    await bench.says(/^warm-up done/m);
    served.kill();
    const run = await bench.end;
    expectNoTrace(run);
    expect(run.exitCode, run.stderr).toBe(3);
    expect(run.stderr).toContain(served.url);
    expect(run.stderr.trimEnd()).toMatch(/ log.*\[endpoint_failed\]$/);
    // What there was of the stage is shown and kept, as what it was.
    expect(run.stdout).toMatch(/^1 in flight: (\d+) of \d+ failed /m);
    const { stages } = JSON.parse(readFileSync(path.join(out, "bench.json"), "utf8")) as {
      readonly stages: readonly { readonly numErrors: number }[];
    };
    expect(stages.map(({ numErrors }) => numErrors > 0)).toEqual([true]);
  });

  test.skipIf(process.platform !== "linux")("fails the flow with the server's last lines", async () => {
    const folder = makeFolder();
    const name = "killed-flow";
    const model = path.join(folder, name);
    symlinkSync(pebble, model);
    const alone = ["--schemes", "bf16", ...oneRound, "--out", path.join(folder, "out")];
    const flow = startCli("flow", model, "--tasks", "none", ...long, ...alone);
    await flow.says(/^\[1\/1\] base: warm-up done/m);
    const pid = readdirSync("/proc").find((entry) => {
      const words = /^\d+$/.test(entry) ? commandOf(entry) : [];
      return words.includes("serve") && words.includes(name);
    });
    process.kill(Number(pid), "SIGKILL");
    const run = await flow.end;
    expectPlainEnd(run);
    expect(run.exitCode, run.stderr).toBe(3);
    expect(run.stderr).toMatch(/ended by itself \(SIGKILL\)[\s\S]*\[endpoint_failed\]/);
  });
});
