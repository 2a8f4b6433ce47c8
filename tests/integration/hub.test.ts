import { createHash } from "node:crypto";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { findSnapshot, listCached, removeCached } from "../../src/hub/cached-repos.ts";
import { toCacheFault } from "../../src/hub/download-blob.ts";
import type { HubSettings } from "../../src/hub/hub-settings.ts";
import { type ModelId, parseModelId } from "../../src/hub/model-id.ts";
import type { Offer, PullOptions } from "../../src/hub/pull-files.ts";
import { pullModel } from "../../src/hub/pull-model.ts";
import { repoFolder } from "../../src/hub/repo-cache.ts";
import { type HubStub, startHubStub, stubCommit } from "../hub-stub.ts";

/** The same bytes for the same seed. */
function noise(length: number, seed: number): Buffer {
  let state = seed;
  return Buffer.from(
    Uint8Array.from({ length }, () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return state >>> 24;
    }),
  );
}

const weights = noise(300_000, 1);
const small = {
  "config.json": Buffer.from("{}"),
  "tokenizer.json": noise(5000, 2),
  "README.md": Buffer.from("about"),
  "pytorch_model.bin": noise(9000, 3),
};
const repos = {
  "org/dense": { files: { ...small, "model.safetensors": weights }, license: "apache-2.0" },
  "org/ggufs": {
    files: {
      "a-Q4_K_M.gguf": noise(2000, 4),
      "a-Q8_0.gguf": noise(3000, 5),
      "a-BF16-00001-of-00002.gguf": noise(4000, 6),
      "a-BF16-00002-of-00002.gguf": noise(4100, 7),
    },
  },
  "org/gated": { files: { "config.json": Buffer.from("{}") }, isGated: true, token: "hf_good" },
  "org/private": { files: small, token: "hf_good" },
  "org/bare": { files: { "model.safetensors": weights } },
  "org/images": { files: { "README.md": Buffer.from("no weights") } },
};

let stub: HubStub;
let settings: HubSettings;
beforeEach(async () => {
  stub = await startHubStub(repos);
  const cacheDir = path.join(mkdtempSync(path.join(os.tmpdir(), "hub-cache-")), "hub");
  settings = { endpoint: stub.url, cacheDir, token: null, isOffline: false };
});
afterEach(async () => {
  await stub.close();
  rmSync(path.dirname(settings.cacheDir), { recursive: true, force: true });
});

const idOf = (text: string): ModelId => parseModelId(text)!;
const pull = (text: string, options: PullOptions = {}): Promise<string> =>
  pullModel(settings, idOf(text), { retryMs: 1, ...options });
const sha256 = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");

describe("a download", () => {
  test("tells licence and size first, and lays files out as Python's tools do", async () => {
    const offers: Offer[] = [];
    const snapshot = await pull("org/dense", { onOffer: (offer) => offers.push(offer) });
    const [offer] = offers;
    expect(offer!.listing.license).toBe("apache-2.0");
    expect(offer!.sizeBytes).toBe(2 + 5000 + 300_000);
    expect(offer!.missingBytes).toBe(offer!.sizeBytes);
    const folder = path.join(settings.cacheDir, "models--org--dense");
    expect(snapshot).toBe(path.join(folder, "snapshots", stubCommit));
    expect(readdirSync(snapshot).toSorted()).toEqual(["config.json", "model.safetensors", "tokenizer.json"]);
    expect(readlinkSync(path.join(snapshot, "model.safetensors"))).toBe(
      path.join("..", "..", "blobs", sha256(weights)),
    );
    expect(readFileSync(path.join(folder, "refs", "main"), "utf8")).toBe(stubCommit);
    expect(readFileSync(path.join(snapshot, "model.safetensors")).equals(weights)).toBe(true);
    expect(readdirSync(path.join(folder, "blobs")).filter((name) => name.includes("incomplete"))).toEqual([]);
  });

  test("asks for nothing that is there, and needs no hub for what is whole", async () => {
    await pull("org/dense");
    stub.requests.length = 0;
    await pull("org/dense");
    expect(stub.requests.every(({ path: asked }) => asked.startsWith("/api/"))).toBe(true);
    const offline = { ...settings, isOffline: true, endpoint: "http://127.0.0.1:1" };
    expect(findSnapshot(offline, idOf("org/dense"))).not.toBeNull();
    expect(findSnapshot(offline, idOf(`org/dense@${stubCommit}`))).not.toBeNull();
    expect(findSnapshot(offline, idOf("org/dense@v1"))).toBeNull();
    await expect(pullModel(offline, idOf("org/dense@v1"))).rejects.toMatchObject({
      code: "model_not_cached",
      message: expect.stringMatching(
        /org\/dense@v1 is not in .*HF_HUB_OFFLINE.*millrace pull org\/dense@v1/,
      ) as string,
    });
  });

  test("that is interrupted at twenty random places goes on and is checked", async () => {
    const random = noise(40, 99);
    const blob = path.join(repoFolder(settings, idOf("org/dense")), "blobs", sha256(weights));
    for (let at = 0; at < 20; at += 1) {
      rmSync(settings.cacheDir, { recursive: true, force: true });
      const end = Math.floor(((random[2 * at]! * 256 + random[2 * at + 1]!) / 65536) * weights.length);
      const controller = new AbortController();
      const stopped = pull("org/dense", {
        signal: controller.signal,
        progress: {
          start() {},
          finish() {},
          update: (done) => {
            if (done >= end) controller.abort(new Error("stopped"));
          },
        },
      });
      // The hub breaks the connection there; the second attempt is what the abort ends, or the next start finishes.
      stub.breaks.push(...(at % 2 === 0 ? [] : [Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER, end]));
      await stopped.catch((error: Error) => expect(error.message).toBe("stopped"));
      stub.breaks.length = 0;
      stub.requests.length = 0;
      const before = existsSync(`${blob}.incomplete`) ? readFileSync(`${blob}.incomplete`) : null;
      if (before !== null) expect(before.equals(weights.subarray(0, before.length))).toBe(true);
      await pull("org/dense");
      expect(readFileSync(blob).equals(weights)).toBe(true);
      const asked = stub.requests.filter(({ path: name }) => name.endsWith("/model.safetensors"));
      if (before !== null) expect(asked.every(({ range }) => range === `bytes=${before.length}-`)).toBe(true);
    }
  });

  test("that breaks off goes on by itself as long as bytes come", async () => {
    stub.breaks.push(10_000, 50_000, 1, 100_000, 20_000, 3, 70_000, 5, 5);
    const snapshot = await pull("org/dense");
    expect(readFileSync(path.join(snapshot, "model.safetensors")).equals(weights)).toBe(true);
  });

  test("gives up when attempts bring nothing, and keeps what has come", async () => {
    // Configuration and tokenizer, then the weights.
    stub.breaks.push(Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER, 40_000, 0, 0, 0, 0, 0, 0);
    await expect(pull("org/dense")).rejects.toMatchObject({ code: "hub_unreachable" });
    const blob = path.join(repoFolder(settings, idOf("org/dense")), "blobs", sha256(weights));
    expect(readFileSync(`${blob}.incomplete`).equals(weights.subarray(0, 40_000))).toBe(true);
    expect(findSnapshot(settings, idOf("org/dense"))).toBeNull();
  });

  test("begins anew where the server knows no ranges, or where more is there than there should be", async () => {
    const blobs = path.join(repoFolder(settings, idOf("org/dense")), "blobs");
    mkdirSync(blobs, { recursive: true });
    writeFileSync(path.join(blobs, `${sha256(weights)}.incomplete`), weights.subarray(0, 5000));
    stub.ignoresRanges = true;
    const snapshot = await pull("org/dense");
    expect(readFileSync(path.join(snapshot, "model.safetensors")).equals(weights)).toBe(true);
    rmSync(settings.cacheDir, { recursive: true });
    mkdirSync(blobs, { recursive: true });
    writeFileSync(path.join(blobs, `${sha256(weights)}.incomplete`), Buffer.concat([weights, weights]));
    await pull("org/dense");
    expect(readFileSync(path.join(blobs, sha256(weights))).equals(weights)).toBe(true);
  });

  test("does not hand the token to another host", async () => {
    settings = { ...settings, token: "hf_good" };
    await pull("org/dense");
    const [api, cdn] = [true, false].map((isHub) =>
      stub.requests.filter(
        ({ path: asked }) => asked.startsWith("/api/") === isHub && !asked.includes("resolve"),
      ),
    );
    expect(api!.every(({ hasToken }) => hasToken)).toBe(true);
    expect(cdn!.length).toBeGreaterThan(0);
    expect(cdn!.some(({ hasToken }) => hasToken)).toBe(false);
  });
});

describe("what goes wrong is told", () => {
  const refused = (code: string, message: RegExp): object => ({
    code,
    message: expect.stringMatching(message) as string,
  });

  test("a large and a small file with another digest, which are removed", async () => {
    for (const name of ["model.safetensors", "config.json"]) {
      rmSync(settings.cacheDir, { recursive: true, force: true });
      stub.tamper = (file, bytes) => (file === name ? Buffer.from(bytes.map((byte) => byte ^ 1)) : bytes);
      await expect(pull("org/dense")).rejects.toMatchObject(
        refused(
          "hub_damaged",
          new RegExp(`${name} of org/dense came with the .*list says.*Download it again`),
        ),
      );
      const blobs = readdirSync(path.join(repoFolder(settings, idOf("org/dense")), "blobs"));
      expect(blobs.filter((blob) => blob.includes("incomplete"))).toEqual([]);
      expect(findSnapshot(settings, idOf("org/dense"))).toBeNull();
    }
  });

  test("a file that is longer than listed", async () => {
    stub.tamper = (file, bytes) => (file === "model.safetensors" ? Buffer.concat([bytes, bytes]) : bytes);
    await expect(pull("org/dense")).rejects.toMatchObject(
      refused("hub_damaged", /longer than the 300000 bytes/),
    );
  });

  test("a gated, a private and an absent model, and an absent revision", async () => {
    await expect(pull("org/gated")).rejects.toMatchObject(
      refused(
        "hub_forbidden",
        /org\/gated is gated.*No token was given.*Ask for access at .*org\/gated.*HF_TOKEN/,
      ),
    );
    await expect(pull("org/private")).rejects.toMatchObject(
      refused("hub_forbidden", /org\/private cannot be had.*does not exist, or it is private.*HF_TOKEN/),
    );
    settings = { ...settings, token: "hf_bad" };
    await expect(pull("org/gated")).rejects.toMatchObject(
      refused("hub_forbidden", /gated.*token that was given is not enough/),
    );
    await expect(pull("org/none")).rejects.toMatchObject(
      refused("hub_not_found", /org\/none does not exist/),
    );
    await expect(pull("org/dense@v9")).rejects.toMatchObject(
      refused("hub_not_found", /org\/dense has no revision v9/),
    );
  });

  test("weights without a configuration, when all has come", async () => {
    await expect(pull("org/bare")).rejects.toMatchObject(
      refused("invalid_model_file", /org\/bare has weights, but no config\.json/),
    );
  });

  test("a hub that is not there, and an endpoint that is none", async () => {
    await expect(
      pullModel({ ...settings, endpoint: "http://127.0.0.1:1" }, idOf("org/dense")),
    ).rejects.toMatchObject(refused("hub_unreachable", /127\.0\.0\.1:1 does not answer.*HF_ENDPOINT/));
  });

  test("a cache that may not be written to", async () => {
    mkdirSync(path.dirname(settings.cacheDir), { recursive: true });
    writeFileSync(settings.cacheDir, "a file in the way");
    await expect(pull("org/dense")).rejects.toMatchObject(
      refused("output_unwritable", /cannot be written.*HF_HUB_CACHE/),
    );
  });

  test.skipIf(process.getuid?.() === 0)("a folder without permission", async () => {
    mkdirSync(settings.cacheDir, { recursive: true });
    chmodSync(settings.cacheDir, 0o500);
    await expect(pull("org/dense")).rejects.toMatchObject(
      refused("output_unwritable", /EACCES.*permissions/),
    );
  });

  test("a disk without room, before a byte comes and on the way", async () => {
    await expect(pull("org/dense", { freeBytesOf: () => 1000 })).rejects.toMatchObject(
      refused("disk_full", /org\/dense needs 298 KiB more; .* has 1000 B free.*nothing was downloaded/),
    );
    expect(stub.requests.every(({ path: asked }) => asked.startsWith("/api/"))).toBe(true);
    const full = Object.assign(new Error("ENOSPC: no space left on device, write"), {
      code: "ENOSPC",
      syscall: "write",
    });
    expect(toCacheFault("x.incomplete", full)).toMatchObject(refused("disk_full", /What has come is kept/));
    const denied = Object.assign(new Error("EACCES: permission denied, open"), {
      code: "EACCES",
      syscall: "open",
    });
    expect(toCacheFault("x", denied)).toMatchObject(
      refused("output_unwritable", /Check its permissions.*HF_HUB_CACHE/),
    );
  });

  test("repositories without weights to read, and GGUF files of which one must be named", async () => {
    await expect(pull("org/images")).rejects.toMatchObject(
      refused("unsupported_format", /neither safetensors nor GGUF/),
    );
    await expect(pull("org/ggufs")).rejects.toMatchObject(
      refused("unsupported_format", /3 GGUF files that fit.*org\/ggufs:Q4_K_M.*a-BF16\.gguf \(7\.91 KiB\)/),
    );
    await expect(pull("org/ggufs:Q5_K")).rejects.toMatchObject(
      refused("unsupported_format", /no GGUF file with such a name/),
    );
  });
});

describe("the cache", () => {
  test("gives the file of a GGUF model, or the first of its parts", async () => {
    expect(path.basename(await pull("org/ggufs:q4_k_m"))).toBe("a-Q4_K_M.gguf");
    expect(path.basename(await pull("org/ggufs:BF16"))).toBe("a-BF16-00001-of-00002.gguf");
    expect(findSnapshot(settings, idOf("org/ggufs:Q8_0"))).toBeNull();
    expect(findSnapshot(settings, idOf("org/ggufs"))).toBeNull();
  });

  test("lists and removes models", async () => {
    expect((await listCached(settings)).repos).toEqual([]);
    await pull("org/dense");
    await pull("org/ggufs@v1:Q8_0");
    const { repos: models, warnings } = await listCached(settings);
    expect(warnings).toEqual([]);
    expect(models.map(({ repo, sizeBytes, revisions }) => ({ repo, sizeBytes, revisions }))).toEqual([
      { repo: "org/dense", sizeBytes: 305_002, revisions: [{ commit: stubCommit, refs: ["main"] }] },
      { repo: "org/ggufs", sizeBytes: 3000, revisions: [{ commit: stubCommit, refs: ["v1"] }] },
    ]);
    expect(removeCached(settings, idOf("org/dense"))).toBe(305_002);
    expect((await listCached(settings)).repos).toHaveLength(1);
    expect(() => removeCached(settings, idOf("org/dense"))).toThrow(/org\/dense is not in .*millrace list/);
  });
});
