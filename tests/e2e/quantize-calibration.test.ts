import { readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, expect, test } from "vitest";
import { openCheckpoint } from "../../src/formats/open-checkpoint.ts";
import { createTokenizer } from "../../src/tokenizer/create-tokenizer.ts";
import { repositoryPath } from "../test-data.ts";
import { expectRefusal } from "./expect-refusal.ts";
import { makeFolder, pebble, removeFolders, runCli } from "./run-cli.ts";

afterAll(removeFolders);

interface Calibration {
  readonly source: string;
  readonly sequences: readonly (readonly number[])[];
}

/** Quantises with `source` and returns the ids that were used, as they are written beside the model. */
async function calibrate(folder: string, source: string, size: string): Promise<Calibration> {
  const out = path.join(folder, `out-${path.basename(source)}`);
  const args = ["--method", "imatrix", "--calibration", source, "--calibration-size", size, "--out", out];
  const run = await runCli("quantize", pebble, "--scheme", "w4a16", ...args);
  expect(run.exitCode, run.stderr).toBe(0);
  return JSON.parse(readFileSync(path.join(out, "millrace-calibration.json"), "utf8")) as Calibration;
}

const chats = ["a", "b", "c", "d", "e"].map((word) => ({
  messages: [
    { role: "user", content: `Say ${word}.` },
    { role: "assistant", content: word.repeat(3) },
  ],
}));

test("conversations are put as the chat template has them, spread evenly and cut", async () => {
  const folder = makeFolder();
  const file = path.join(folder, "chats.jsonl");
  writeFileSync(file, chats.map((chat) => `${JSON.stringify(chat)}\n`).join("\n"));
  const { source, sequences } = await calibrate(folder, file, "3x12");
  expect(source).toBe("chats.jsonl");
  const checkpoint = openCheckpoint(pebble);
  const tokenizer = createTokenizer(checkpoint.tokenizer()!);
  checkpoint.close();
  const expected = [0, 2, 4].map((index) => {
    const text = tokenizer.chatTemplate!.render(chats[index]!.messages);
    return tokenizer.encode(text, { addSpecialTokens: false }).slice(0, 12);
  });
  expect(sequences).toEqual(expected);
});

test("the model writes its own text, the same in every run, and its ids are a calibration again", async () => {
  const folder = makeFolder();
  const first = await calibrate(folder, "self", "4x24");
  expect(first.sequences.map(({ length }) => length)).toEqual([24, 24, 24, 24]);
  expect(new Set(first.sequences.map((ids) => ids.join())).size).toBe(4);
  const again = await calibrate(makeFolder(), "self", "4x24");
  expect(again).toEqual(first);
  const ids = path.join(folder, "out-self", "millrace-calibration.json");
  expect(await calibrate(folder, ids, "1000x7")).toEqual(first);
});

test.each([["w4a16", "--group-size", "32"], ["q4_0"]])(
  "gptq keeps the embedded model's predictions nearer than rounding alone: %s",
  async (...scheme) => {
    const folder = makeFolder();
    const heldOut = readFileSync(repositoryPath("models", "pebble", "task", "heldout.jsonl"), "utf8");
    const documents = heldOut
      .split("\n")
      .flatMap((line) => (line === "" ? [] : [(JSON.parse(line) as { text: string }).text]));
    const half = documents.length >> 1;
    const [seen, unseen] = ["seen.txt", "unseen.txt"].map((name) => path.join(folder, name));
    writeFileSync(seen!, documents.slice(0, half).join("\n\n"));
    writeFileSync(unseen!, documents.slice(half).join("\n\n"));
    const klOf = async (...method: string[]): Promise<number> => {
      const out = path.join(folder, method[0]!);
      const made = await runCli(
        "quantize",
        pebble,
        "--scheme",
        ...scheme,
        "--method",
        ...method,
        "--out",
        out,
      );
      expect(made.exitCode, made.stderr).toBe(0);
      const run = await runCli("diff", pebble, out, "--text", unseen!, "--max-tokens", "2048", "--json");
      expect(run.exitCode, run.stderr).toBe(0);
      return (JSON.parse(run.stdout) as { kl: { mean: number } }).kl.mean;
    };
    const rounded = await klOf("rtn");
    const passedOn = await klOf("gptq", "--calibration", seen!, "--calibration-size", "32x256");
    expect(passedOn).toBeLessThan(rounded / 2);
  },
);

test.each([
  [
    "ids.json",
    '{"kind":"calibration-tokens","formatVersion":1,"source":"x","sequences":[[1,2],[3,9999999]]}',
    /token 9999999 in sequence 1/,
  ],
  [
    "ids.json",
    '{"kind":"calibration-tokens","formatVersion":1,"source":"x","sequences":[[1,2]]}',
    /wrong at sequences/,
  ],
  ["ids.json", "[1, 2", /is not JSON/],
  [
    "chats.jsonl",
    '{"messages":[{"role":"user","content":"x"}]}\n{"text":"x"}',
    /chats\.jsonl:2 is no conversation/,
  ],
  ["chats.jsonl", '{"messages":[{"role":"user","content":"x"}]}', /has 1 sequences/],
  ["text.txt", "short", /calibration takes at least two sequences/],
])("%s of %j is refused, and nothing is left behind", async (name, content, says) => {
  const folder = makeFolder();
  const file = path.join(folder, name);
  writeFileSync(file, content);
  const args = ["--method", "gptq", "--calibration", file, "--out", path.join(folder, "out")];
  await expectRefusal(folder, {
    args: ["quantize", pebble, "--scheme", "w4a16", ...args],
    code: "invalid_data_file",
    exitCode: 3,
    says: [],
  });
  const run = await runCli("quantize", pebble, "--scheme", "w4a16", ...args);
  expect(run.stderr).toMatch(says);
});

test("a text that the method has no use for is not read, which a note says; flags of a search are refused without one", async () => {
  const folder = makeFolder();
  const out = path.join(folder, "out");
  const args = ["quantize", pebble, "--scheme", "w4a16", "--out", out];
  const size = ["--calibration-size", "4x64"];
  const run = await runCli(...args, "--calibration", path.join(folder, "none.txt"), ...size);
  expect(run.exitCode, run.stderr).toBe(0);
  expect(run.stderr).toMatch(/--calibration is not used: estimate .* are imatrix and gptq\./);
  expect(run.stderr).toContain("--calibration-size is not used: there is no calibration.");
  await expectRefusal(folder, {
    args: ["quantize", pebble, "--mixed", "--out", path.join(folder, "other")],
    code: "invalid_option",
    exitCode: 2,
    says: ["--mixed has no effect", "Give --budget"],
  });
});

test.each([
  ["an id above 31 bits", [[1, 2 ** 32 + 5], [1]], "sequences.0.1"],
  [
    "a sequence that is too long",
    [Array(4000).fill(1), [1]],
    "has a sequence of 4000 tokens; the model takes",
  ],
])("%s in a file of token ids is refused before anything is written", async (_what, sequences, says) => {
  const folder = makeFolder();
  const file = path.join(folder, "ids.json");
  writeFileSync(
    file,
    JSON.stringify({ kind: "calibration-tokens", formatVersion: 1, source: "a test", sequences }),
  );
  const args = ["quantize", pebble, "--scheme", "w4a16", "--method", "gptq", "--calibration", file];
  await expectRefusal(folder, {
    args: [...args, "--out", path.join(folder, "out")],
    code: "invalid_data_file",
    exitCode: 3,
    says: [says],
  });
});

test("text of its own that is longer than the model takes is refused, with the flag that says so", async () => {
  const folder = makeFolder();
  const args = ["quantize", pebble, "--method", "gptq", "--out", path.join(folder, "out")];
  await expectRefusal(folder, {
    args: [...args, "--calibration", "self", "--calibration-size", "4x100000"],
    code: "invalid_data_file",
    exitCode: 3,
    says: ["a sequence of 100000 tokens", "--calibration-size"],
  });
});

test("a folder whose weights are gone is not verified, and says which file", async () => {
  const folder = makeFolder();
  const out = path.join(folder, "out");
  expect((await runCli("quantize", pebble, "--out", out)).exitCode).toBe(0);
  rmSync(path.join(out, "model.safetensors"));
  await expectRefusal(folder, {
    args: ["verify", out],
    code: "file_not_found",
    exitCode: 3,
    says: ["model.safetensors cannot be read: ENOENT", "Check the path"],
  });
});
