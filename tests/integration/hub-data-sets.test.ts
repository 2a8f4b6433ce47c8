import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { SplitId } from "../../src/hub/data-set-files.ts";
import type { HubSettings } from "../../src/hub/hub-settings.ts";
import { pullSplits, type SplitFiles } from "../../src/hub/pull-data-set.ts";
import type { Offer } from "../../src/hub/pull-files.ts";
import { convertedCommit, type HubStub, startHubStub, stubCommit } from "../hub-stub.ts";

const card = `---
license: cc-by-4.0
configs:
- config_name: easy
  data_files:
  - split: train
    path: easy/train-*
  - split: test
    path:
    - easy/test-*
    - extra/test.jsonl
- config_name: hard
  default: true
  data_files: hard.jsonl
- config_name: folder
  data_dir: below
---
# About
`;
const text = (value: string): Buffer => Buffer.from(value);
const repos = {
  "datasets/org/carded": {
    license: "cc-by-4.0",
    files: {
      "README.md": text(card),
      "easy/train-00000-of-00001.parquet": text("train"),
      "easy/test-00000-of-00002.parquet": Buffer.alloc(5000, "first"),
      "easy/test-00001-of-00002.parquet": Buffer.alloc(6000, "second"),
      "extra/test.jsonl": text("{}"),
      "hard.jsonl": text("hard"),
      "below/test.jsonl": text("below"),
      "below/dev.jsonl": text("below dev"),
    },
  },
  "datasets/org/scripted": {
    files: { "README.md": text("# Only a script"), "scripted.py": text("import os") },
    converted: {
      "one/test/0000.parquet": text("converted"),
      "one/test/0001.parquet": text("converted too"),
      "two/train/0000.parquet": text("other"),
    },
  },
  "datasets/org/plain": { files: { "train.jsonl": text("a"), "test.jsonl": text("b") } },
  "datasets/org/broken": { files: { "README.md": text("---\nconfigs: [\n---\n") } },
  "datasets/org/gated": { files: {}, isGated: true, token: "hf_good" },
};

let stub: HubStub;
let settings: HubSettings;
beforeEach(async () => {
  stub = await startHubStub(repos);
  const cacheDir = path.join(mkdtempSync(path.join(os.tmpdir(), "hub-data-")), "hub");
  settings = { endpoint: stub.url, cacheDir, token: null, isOffline: false };
});
afterEach(async () => {
  await stub.close();
  rmSync(path.dirname(settings.cacheDir), { recursive: true, force: true });
});

const offers: Offer[] = [];
async function pull(
  repo: string,
  config: string | null,
  split: string,
  revision = "main",
): Promise<SplitFiles> {
  const wanted: SplitId[] = [{ config, split }];
  offers.length = 0;
  const options = { retryMs: 1, onOffer: (offer: Offer) => offers.push(offer) };
  const [found] = await pullSplits(settings, { type: "dataset", repo, revision }, wanted, options);
  return found!;
}
const refused = (code: string, message: RegExp): object => ({
  code,
  message: expect.stringMatching(message) as string,
});

test("the files of a split come as the card says, are checked, and lie where Python's tools look", async () => {
  const { commit, folder, names } = await pull("org/carded", "easy", "test");
  expect(commit).toBe(stubCommit);
  expect(folder).toBe(path.join(settings.cacheDir, "datasets--org--carded", "snapshots", stubCommit));
  expect(names).toEqual([
    "easy/test-00000-of-00002.parquet",
    "easy/test-00001-of-00002.parquet",
    "extra/test.jsonl",
  ]);
  for (const name of names)
    expect(
      readFileSync(path.join(folder, name)).equals(repos["datasets/org/carded"].files[name as "hard.jsonl"]),
    );
  expect(offers).toHaveLength(1);
  expect(offers[0]!.listing).toMatchObject({ license: "cc-by-4.0", commit: stubCommit });
  expect(stub.requests.some(({ path: asked }) => asked.includes("train"))).toBe(false);
});

test("a configuration is the named one, the default one, or a folder with names that say the split", async () => {
  expect((await pull("org/carded", null, "train")).names).toEqual(["hard.jsonl"]);
  expect((await pull("org/carded", "folder", "validation")).names).toEqual(["below/dev.jsonl"]);
  expect((await pull("org/plain", null, "test")).names).toEqual(["test.jsonl"]);
  expect((await pull("org/plain", "default", "train")).names).toEqual(["train.jsonl"]);
});

test("what is in the cache is taken without a question, also without a network", async () => {
  const first = await pull("org/carded", "easy", "test");
  const converted = await pull("org/scripted", "one", "test");
  stub.requests.length = 0;
  expect(await pull("org/carded", "easy", "test")).toEqual(first);
  settings = { ...settings, isOffline: true, endpoint: "http://127.0.0.1:1" };
  expect(await pull("org/carded", "easy", "test")).toEqual(first);
  expect(await pull("org/carded", "easy", "test", stubCommit)).toEqual(first);
  expect(await pull("org/scripted", "one", "test")).toEqual(converted);
  expect(stub.requests).toEqual([]);
  for (const [repo, split] of [
    ["org/carded", "train"],
    ["org/plain", "test"],
  ] as const)
    await expect(pull(repo, "easy", split)).rejects.toMatchObject(
      refused("dataset_not_cached", /org\/\w+ is not in .*HF_HUB_OFFLINE is set.*--data FOLDER/),
    );
});

test("of a script the hub's conversion is taken, but not at a revision", async () => {
  const { commit, names } = await pull("org/scripted", "one", "test");
  expect(commit).toBe(convertedCommit);
  expect(names).toEqual(["one/test/0000.parquet", "one/test/0001.parquet"]);
  await expect(pull("org/scripted", "one", "test", "v1")).rejects.toMatchObject(
    refused("unsupported_format", /org\/scripted@v1 makes its rows by a Python script.*revision out/),
  );
  await expect(pull("org/scripted", null, "test")).rejects.toMatchObject(
    refused("hub_not_found", /has no configuration "default"\. It has one, two/),
  );
});

test("a download that breaks off goes on where it ended, and nothing partial counts as there", async () => {
  const whole = Number.MAX_SAFE_INTEGER;
  // The card, then the first file; the second breaks until there is no patience left.
  stub.breaks.push(whole, whole, 2500, 0, 0, 0, 0, 0, 0);
  await expect(pull("org/carded", "easy", "test")).rejects.toMatchObject({ code: "hub_unreachable" });
  stub.breaks.length = 0;
  stub.requests.length = 0;
  const { folder, names } = await pull("org/carded", "easy", "test");
  const ranges = stub.requests
    .filter(({ path: asked }) => asked.includes("test-00001"))
    .map(({ range }) => range);
  expect(new Set(ranges)).toEqual(new Set(["bytes=2500-"]));
  expect(readFileSync(path.join(folder, names[1]!), "utf8")).toBe("second".repeat(1000));
});

test("a split of which another tool's download left out a file is not in the cache", async () => {
  const whole = await pull("org/carded", "easy", "test");
  rmSync(path.join(whole.folder, whole.names[1]!));
  const online = settings;
  settings = { ...settings, isOffline: true };
  await expect(pull("org/carded", "easy", "test")).rejects.toMatchObject({ code: "dataset_not_cached" });
  settings = online;
  expect(await pull("org/carded", "easy", "test")).toEqual(whole);
});

test("what is not there, gated, or no card is told by name", async () => {
  await expect(pull("org/carded", "medium", "test")).rejects.toMatchObject(
    refused("hub_not_found", /org\/carded has no configuration "medium"\. It has easy, hard, folder/),
  );
  await expect(pull("org/carded", "easy", "validation")).rejects.toMatchObject(
    refused("hub_not_found", /org\/carded has no split "validation"\. It has train, test/),
  );
  await expect(pull("org/none", null, "test")).rejects.toMatchObject(
    refused("hub_forbidden", /org\/none cannot be had/),
  );
  await expect(pull("org/plain", null, "test", "v9")).rejects.toMatchObject(
    refused("hub_not_found", /org\/plain has no revision v9.*datasets\/org\/plain/),
  );
  await expect(pull("org/gated", null, "test")).rejects.toMatchObject(
    refused("hub_forbidden", /org\/gated is gated.*datasets\/org\/gated.*HF_TOKEN/),
  );
  await expect(pull("org/broken", null, "test")).rejects.toMatchObject(
    refused("hub_damaged", /card \(README\.md\) of the data set org\/broken cannot be read/),
  );
});
