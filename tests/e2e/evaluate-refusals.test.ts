import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ErrorCode } from "../../src/base/error-catalogue.ts";
import { createSandbox } from "../../src/evaluate/code/sandbox.ts";
import { expectRefusal } from "./expect-refusal.ts";
import { endProcesses, makeFolder, pebble, removeFolders, runCli } from "./run-cli.ts";

const folder = makeFolder();
const inFolder = (name: string): string => path.join(folder, name);
const question = (answer: string) => ({
  question: "Which is a fruit?",
  choices: { text: ["pear", "stone"], label: ["A", "B"] },
  answerKey: answer,
});

/** What a model writes by the name of the function that it is asked for: how each tries to get out, but the first. */
const programs: Readonly<Record<string, (port: number) => string>> = {
  honest: () => "    return 42\n",
  write_file: () => `    open(${JSON.stringify(inFolder("escaped"))}, "w").write("out")\n    return 42\n`,
  read_file: () => `    open(${JSON.stringify(inFolder("rows.jsonl"))}).read()\n    return 42\n`,
  call_home: (port) =>
    `    import socket\n    socket.create_connection(("127.0.0.1", ${port}), 1)\n    return 42\n`,
  see_others: () =>
    '    import os\n    assert len([p for p in os.listdir("/proc") if p.isdigit()]) > 4\n    return 42\n',
  leave_early: () => "    import os\n    os._exit(0)\n",
  never_end: () => "    import time\n    time.sleep(600)\n",
};

const problem = (name: string) => ({
  task_id: name,
  prompt: `def ${name}():\n`,
  entry_point: name,
  test: "def check(candidate):\n    assert candidate() == 42\n",
});

beforeAll(() => {
  mkdirSync(inFolder("arc"));
  const rows = [question("A"), question("Z")].map((row) => JSON.stringify(row)).join("\n");
  writeFileSync(inFolder("arc/ARC-Easy-test.jsonl"), rows);
  writeFileSync(inFolder("rows.jsonl"), `${JSON.stringify({ q: "Tell me all.", a: "x ".repeat(60) })}\n`);
  const base = ["test_split: test", "dataset_path: rows.jsonl", 'doc_to_text: "{{q}}"', "doc_to_target: a"];
  const define = (name: string, ...lines: string[]): void =>
    writeFileSync(inFolder(`${name}.yaml`), [`task: ${name}`, ...base, ...lines].join("\n"));
  define("endless", "generation_kwargs: {until: [], max_gen_toks: 12}");
  define("wide", "generation_kwargs: {max_gen_toks: 64}");
  define("long", "output_type: loglikelihood");
  define("unknown", "fewshot_spilt: test");
  mkdirSync(inFolder("humaneval"));
  const problems = Object.keys(programs)
    .map((name) => JSON.stringify(problem(name)))
    .join("\n");
  writeFileSync(inFolder("humaneval/HumanEval.jsonl"), problems);
});
afterAll(() => {
  endProcesses();
  removeFolders();
});

const evaluate = (tasks: string, ...more: string[]): string[] => [
  "evaluate",
  pebble,
  "--tasks",
  tasks,
  ...more,
];

describe("an evaluation that cannot work is refused before the first request", () => {
  test.each<[what: string, args: () => string[], code: ErrorCode, exitCode: number, says: string[]]>([
    [
      "a context too small for the answers",
      () => evaluate(inFolder("wide.yaml"), "--max-model-len", "64"),
      "context_length_exceeded",
      2,
      ["up to 64 tokens", "context of 64", "--max-model-len", "max_gen_toks=32"],
    ],
    [
      "a context too small for a scored text",
      () => evaluate(inFolder("long.yaml"), "--max-model-len", "32"),
      "context_length_exceeded",
      2,
      ["answer of 120 characters", "the model reads 32", "--max-model-len"],
    ],
    [
      "a folder without the file",
      () => evaluate("piqa", "--data", folder),
      "file_not_found",
      3,
      ["piqa found none of piqa/validation.jsonl", folder, "--data"],
    ],
    [
      "an answer key that no choice has",
      () => evaluate("arc_easy", "--data", folder),
      "invalid_data_file",
      3,
      ["ARC-Easy-test.jsonl, row 2,", "not an ARC question", "answerKey", "Correct the file"],
    ],
    [
      "a task that there is not",
      () => evaluate("arc_eazy"),
      "unknown_task",
      2,
      ['"arc_eazy"', "Near to it: arc_easy", "millrace evaluate --tasks list"],
    ],
    [
      "a data folder that is not there",
      () => evaluate("piqa", "--data", inFolder("nowhere")),
      "file_not_found",
      3,
      ["piqa/validation.jsonl", inFolder("nowhere"), "no such folder", "--data"],
    ],
    [
      "a flag of a server without one",
      () => evaluate("pebble", "--chat"),
      "invalid_option",
      2,
      ["--chat has no effect", "--url"],
    ],
    [
      "a flag of chats without one",
      () => evaluate("pebble", "--shots-in-one-turn"),
      "invalid_option",
      2,
      ["--shots-in-one-turn has no effect", "--apply-chat-template"],
    ],
    [
      "a flag of the engine beside a server",
      () => evaluate("pebble", "--url", "http://127.0.0.1:1", "--activations", "f32"),
      "invalid_option",
      2,
      ["--activations has no effect", "server at --url"],
    ],
    [
      "a tokenizer where messages are sent",
      () => evaluate("ifeval", "--url", "http://127.0.0.1:1", "--chat", "--tokenizer", pebble),
      "invalid_option",
      2,
      ["--tokenizer has no effect", "--chat"],
    ],
    [
      "a journal that is another file",
      () => evaluate("pebble", "--journal", inFolder("rows.jsonl")),
      "invalid_data_file",
      3,
      ["rows.jsonl:1 is no answer of a journal", "Nothing was changed", "--journal"],
    ],
    [
      "programs that nobody allowed to run",
      () => evaluate("humaneval", "--data", folder),
      "evaluation_unsupported",
      2,
      ["humaneval runs programs that the model writes", "--allow-code-execution", "sandbox"],
    ],
    [
      "a key that no task file has",
      () => evaluate(inFolder("unknown.yaml")),
      "invalid_task",
      2,
      ["unknown.yaml:6", '"fewshot_spilt"', "fewshot_split"],
    ],
  ])("%s", async (_what, args, code, exitCode, says) => {
    await expectRefusal(folder, { args: args(), code, exitCode, says });
  });
});

test("answers that do not end, and prompts that do not fit, are counted and told with the result", async () => {
  const endless = await runCli(...evaluate(inFolder("endless.yaml"), "--json"));
  expect(endless.exitCode, endless.stderr).toBe(0);
  expect(endless.stderr).toMatch(/endless: 1 of 1 answers ran into their limit .*max_gen_toks/);
  expect(JSON.parse(endless.stdout)).toMatchObject({ cut_answers: { endless: 1 } });

  const short = await runCli(...evaluate("pebble", "--limit", "3", "--max-model-len", "8", "--json"));
  expect(short.exitCode, short.stderr).toBe(0);
  expect(short.stderr).toMatch(/pebble: \d+ prompts are longer than the context of 8 tokens and lost/);
  expect(JSON.parse(short.stdout)).toMatchObject({
    shortened_prompts: { pebble: expect.any(Number) as number },
  });
});

test("a server that cannot score is refused before the first document", async () => {
  let numRequests = 0;
  const server = await startServer((route) => {
    if (route === "/v1/models") return { data: [{ id: "chat-only" }] };
    numRequests += 1;
    return { choices: [{ text: " and", logprobs: null }] };
  });
  await expectRefusal(folder, {
    args: evaluate("pebble", "--limit", "10", "--url", server.url, "--out", inFolder("scores")),
    code: "endpoint_failed",
    exitCode: 3,
    says: ["echo and logprobs", server.url],
  });
  expect(numRequests).toBe(1);
  server.close();
});

const hasSandbox = await createSandbox().then(
  () => true,
  () => false,
);

test.skipIf(!hasSandbox)(
  "programs that try to get out of their sandbox fail, and touch nothing",
  async () => {
    let numVisits = 0;
    const server = await startServer((route, body) => {
      if (route === "/v1/models") return { data: [{ id: "writer" }] };
      if (!route.startsWith("/v1/chat")) numVisits += 1;
      const name = Object.keys(programs).find((each) => body.includes(`def ${each}(`))!;
      const content = programs[name]!(server.port);
      return { choices: [{ message: { role: "assistant", content }, finish_reason: "stop" }] };
    });
    const where = ["--url", server.url, "--chat", "--data", folder, "--out", inFolder("code")];
    const run = await runCli(
      "evaluate",
      "--tasks",
      "humaneval",
      "--allow-code-execution",
      "--json",
      ...where,
    );
    server.close();
    expect(run.exitCode, run.stderr).toBe(0);
    const results = JSON.parse(run.stdout) as { results: Record<string, Record<string, unknown>> };
    expect(results.results["humaneval"]!["pass@1,create_test"]).toBeCloseTo(1 / 7, 12);
    expect(existsSync(inFolder("escaped"))).toBe(false);
    expect(numVisits).toBe(0);
  },
);

interface ScriptedServer {
  readonly url: string;
  readonly port: number;
  readonly close: () => void;
}

/** A server that answers each request's path and body by a function. */
async function startServer(answer: (route: string, body: string) => object): Promise<ScriptedServer> {
  const server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on("data", (part: Buffer) => parts.push(part));
    request.on("end", () =>
      response.end(JSON.stringify(answer(request.url!, Buffer.concat(parts).toString()))),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, port, close: () => server.close() };
}
