import {
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import { afterAll, expect, test } from "vitest";
import { openCheckpoint } from "../../src/formats/open-checkpoint.ts";
import { expectRefusal } from "./expect-refusal.ts";
import { makeFolder, pebble, removeFolders, runCli } from "./run-cli.ts";

afterAll(removeFolders);

interface Search {
  readonly chosen: string | null;
  readonly trials: readonly {
    readonly name: string;
    readonly broken: readonly string[];
    readonly figures: {
      readonly sizeBytes: number;
      readonly kl: number;
      readonly speedup: number | null;
    };
  }[];
}

interface Manifest {
  readonly tensors: readonly { readonly name: string; readonly form: string }[];
}

function makeText(folder: string): string {
  const text = path.join(folder, "text.txt");
  writeFileSync(text, "The red fox lives in the old mill. The owl has three coins. ".repeat(12));
  return text;
}

test("a budget of size takes the best of what fits, and keeps what was measured", {
  timeout: 240_000,
}, async () => {
  const folder = makeFolder();
  const flags = ["--text", makeText(folder), "--max-tokens", "128", "--json"];
  const run = (limits: string, out: string) =>
    runCli("quantize", pebble, "--budget", limits, ...flags, "--out", path.join(folder, out));
  const small = await run("size<=2.5MiB", "a");
  expect(small.exitCode, small.stderr).toBe(0);
  const { chosen, trials } = JSON.parse(small.stdout) as Search;
  const best = trials.toSorted((a, b) => a.figures.kl - b.figures.kl)[0]!;
  expect(chosen).toBe(best.name);
  for (const { figures } of trials) expect(figures.sizeBytes).toBeLessThanOrEqual(2.5 * 2 ** 20);
  const files = ["model.safetensors", "model.gguf"].map((file) => path.join(folder, "a", file));
  expect(files.filter((file) => existsSync(file))).toHaveLength(1);
  expect((await runCli("verify", path.join(folder, "a"))).exitCode).toBe(0);
});

test("a budget of quality takes the smallest that keeps it, and measures nothing twice", {
  timeout: 480_000,
}, async () => {
  const folder = makeFolder();
  const out = path.join(folder, "out");
  const flags = [
    "--text",
    makeText(folder),
    "--max-tokens",
    "64",
    "--format",
    "gguf",
    "--json",
    "--out",
    out,
  ];
  const run = () => runCli("quantize", pebble, "--budget", "kl<=0.05", ...flags);
  const weights = () => readFileSync(path.join(out, "model.gguf"));
  const first = await run();
  expect(first.exitCode, first.stderr).toBe(0);
  const { chosen, trials } = JSON.parse(first.stdout) as Search;
  const within = trials.filter(({ broken }) => broken.length === 0);
  expect(within[0]?.name).toBe(chosen);
  for (const { broken, figures } of trials) expect(broken).toEqual(figures.kl <= 0.05 ? [] : ["kl<=0.05"]);
  const made = weights();
  rmSync(out, { recursive: true });
  const again = await run();
  expect(again.exitCode, again.stderr).toBe(0);
  for (const { name } of trials) expect(again.stderr).toContain(`${name}: kept from an earlier run: `);
  expect(again.stderr).not.toContain("start the server");
  expect((JSON.parse(again.stdout) as Search).trials).toEqual(trials);
  expect(weights().equals(made)).toBe(true);
});

test("the float model is served beside each candidate where a budget limits speed, and only there", {
  timeout: 240_000,
}, async () => {
  const folder = makeFolder();
  const out = path.join(folder, "out");
  const flags = ["--text", makeText(folder), "--max-tokens", "32", "--json", "--out", out];
  // Room for one candidate.
  const search = async (budget: string): Promise<Search["trials"][number]> => {
    const { exitCode, stdout, stderr } = await runCli("quantize", pebble, "--budget", budget, ...flags);
    expect(exitCode, stderr).toBe(0);
    rmSync(out, { recursive: true });
    const { trials } = JSON.parse(stdout) as Search;
    expect(trials).toHaveLength(1);
    return trials[0]!;
  };
  const slow = await search("size<=1.6MB");
  expect(slow.figures.speedup).toBeNull();
  const beside = path.join(`${out}.search`, slow.name, "base");
  expect(existsSync(beside)).toBe(false);
  const fast = await search("size<=1.6MB,speed>=0.01x");
  expect(fast.figures.speedup).toBeGreaterThan(0);
  expect(existsSync(beside)).toBe(true);
  expect(await search("size<=1.6MB")).toEqual(fast);
});

test("a budget tries the schemes of both formats, or of the one that is asked for", {
  timeout: 240_000,
}, async () => {
  const folder = makeFolder();
  const text = makeText(folder);
  const args = [
    "quantize",
    pebble,
    "--budget",
    "size<=2.5MiB",
    "--text",
    text,
    "--max-tokens",
    "64",
    "--json",
  ];
  const out = path.join(folder, "gguf");
  const gguf = await runCli(...args, "--format", "gguf", "--out", out);
  expect(gguf.exitCode, gguf.stderr).toBe(0);
  const { trials } = JSON.parse(gguf.stdout) as Search;
  for (const { name } of trials) expect(name).toMatch(/^(q|iq)\d_/);
  expect(existsSync(path.join(out, "model.gguf"))).toBe(true);
  const compressed = await runCli(
    ...args,
    "--format",
    "compressed-tensors",
    "--out",
    path.join(folder, "folder"),
  );
  expect(compressed.exitCode, compressed.stderr).toBe(0);
  for (const { name } of (JSON.parse(compressed.stdout) as Search).trials) expect(name).toMatch(/^w\d/);
  const more = ["--mixed", "--format", "compressed-tensors", "--calibration", "self"];
  const refused = await runCli(...args, ...more, "--out", path.join(folder, "refused"));
  expect(refused.exitCode).toBe(2);
  expect(refused.stderr).toContain("--mixed writes GGUF files");
});

test.each(["gguf", "compressed-tensors"])(
  "the tokenizer that is given goes into a %s model that a budget makes",
  {
    timeout: 240_000,
  },
  async (format) => {
    const folder = makeFolder();
    const bare = path.join(folder, "bare");
    const isTokenizer = (file: string): boolean => path.basename(file).startsWith("tokenizer");
    cpSync(pebble, bare, { recursive: true, filter: (file) => !isTokenizer(file) });
    const out = path.join(folder, "out");
    const limit = format === "gguf" ? "size<=2.3MiB" : "size<=1.6MB";
    const choice = ["--format", format, "--tokenizer", pebble, "--max-tokens", "32"];
    const args = ["--budget", limit, "--text", makeText(folder), ...choice, "--out", out];
    const { exitCode, stdout, stderr } = await runCli("quantize", bare, ...args);
    expect(exitCode, stderr).toBe(0);
    expect(stdout).toContain(`* ${out}`);
    expect(stderr).not.toContain("no tokenizer");
    const made = openCheckpoint(out);
    try {
      const vocabOf = (source: ReturnType<typeof made.tokenizer>): unknown =>
        (source?.tokenizerJson["model"] as { readonly vocab?: unknown } | undefined)?.vocab;
      const own = openCheckpoint(pebble);
      expect(vocabOf(made.tokenizer())).toEqual(vocabOf(own.tokenizer()));
      own.close();
    } finally {
      made.close();
    }
    const answer = await runCli("complete", out, "--prompt", "The red fox", "--max-tokens", "4");
    expect(answer.exitCode, answer.stderr).toBe(0);
  },
);

test("a mixed budget gives each group of matrices a type of its own, in a GGUF file within its size", {
  timeout: 240_000,
}, async () => {
  const folder = makeFolder();
  const text = makeText(folder);
  const calibration = ["--calibration", text, "--calibration-size", "4x32"];
  const args = [
    "quantize",
    pebble,
    "--budget",
    "size<=2.5MiB",
    "--mixed",
    "--text",
    text,
    "--max-tokens",
    "128",
  ];
  const out = path.join(folder, "mixed");
  const refused = await runCli(...args, "--out", out);
  expect(refused.exitCode).toBe(2);
  expect(refused.stderr).toContain("--calibration");
  const { exitCode, stdout, stderr } = await runCli(...args, ...calibration, "--json", "--out", out);
  expect(exitCode, stderr).toBe(0);
  const { chosen, trials } = JSON.parse(stdout) as Search;
  expect(chosen).toMatch(/^mixed-/);
  for (const { figures } of trials) expect(figures.sizeBytes).toBeLessThanOrEqual(2.5 * 2 ** 20);
  const manifest = JSON.parse(readFileSync(path.join(out, "millrace-manifest.json"), "utf8")) as Manifest;
  const formOf = new Map(manifest.tensors.map(({ name, form }) => [name, form]));
  expect(new Set(formOf.values()).size).toBeGreaterThan(1);
  for (const [name, form] of formOf) {
    if (name.endsWith(".q_proj")) expect(formOf.get(name.replace(/q_proj$/, "k_proj"))).toBe(form);
  }
  expect((await runCli("verify", out)).exitCode).toBe(0);
});

test("a second search into a folder that is being written is refused", { timeout: 120_000 }, async () => {
  const folder = makeFolder();
  const out = path.join(folder, "out");
  mkdirSync(`${out}.search`);
  writeFileSync(path.join(`${out}.search`, ".millrace-lock"), String(process.pid));
  const args = ["--budget", "size<=2.5MiB", "--text", makeText(folder), "--out", out];
  const { exitCode, stderr } = await runCli("quantize", pebble, ...args);
  expect(exitCode).toBe(2);
  expect(stderr).toContain(`${out}.search is being written by process ${process.pid}.`);
  expect(readdirSync(`${out}.search`)).toEqual([".millrace-lock"]);
});

test("a search refuses a file as its folder at once, and writes to the folder that a link names", {
  timeout: 240_000,
}, async () => {
  const folder = makeFolder();
  const flags = ["--budget", "size<=1.6MB", "--text", makeText(folder), "--max-tokens", "32"];
  const file = path.join(folder, "file");
  writeFileSync(file, "");
  const refused = await runCli("quantize", pebble, ...flags, "--out", file);
  expect(refused.exitCode).toBe(2);
  expect(refused.stderr).toMatch(/file is a file\. .*\[output_exists\]/);
  expect(existsSync(`${file}.search`)).toBe(false);
  const target = path.join(folder, "target");
  const link = path.join(folder, "link");
  mkdirSync(target);
  symlinkSync(target, link);
  const made = await runCli("quantize", pebble, ...flags, "--out", link);
  expect(made.exitCode, made.stderr).toBe(0);
  expect(lstatSync(link).isSymbolicLink()).toBe(true);
  expect((await runCli("verify", link)).exitCode).toBe(0);
});

test("budgets that cannot be read or met say what is allowed, and write nothing", {
  timeout: 120_000,
}, async () => {
  const folder = makeFolder();
  const text = makeText(folder);
  const out = path.join(folder, "out");
  const args = (...more: string[]) => ["quantize", pebble, "--out", out, ...more];
  await expectRefusal(out, {
    args: args("--budget", "kl<0.05", "--text", text),
    code: "invalid_option",
    exitCode: 2,
    says: ["kl<0.05", "kl<=0.05"],
  });
  await expectRefusal(out, {
    args: args("--budget", "kl<=0.05"),
    code: "invalid_option",
    exitCode: 2,
    says: ["--text"],
  });
  await expectRefusal(out, {
    args: args("--budget", "kl<=0.05", "--text", text, "--scheme", "w8a8"),
    code: "invalid_option",
    exitCode: 2,
    says: ["--scheme", "--budget"],
  });
  const unmet = await runCli(...args("--budget", "size<=1KB", "--text", text));
  expect(unmet.exitCode).not.toBe(0);
  expect(unmet.stderr).toMatch(/No candidate keeps within --budget "size<=1KB".*\[budget_unmet\]/);
  expect(unmet.stderr).toMatch(/The smallest candidate, \S+, takes [\d.]+ MiB\. Loosen a limit\. \[/);
  expect(existsSync(out)).toBe(false);
});
