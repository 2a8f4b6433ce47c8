import { spawnSync } from "node:child_process";
import type * as fs from "node:fs";
import { appendFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { silentProgress } from "../../src/base/progress.ts";
import { openCheckpoint } from "../../src/formats/open-checkpoint.ts";
import type { QuantizePlan } from "../../src/quantize/plan.ts";
import { quantize } from "../../src/quantize/quantize.ts";
import { resolvePlan } from "../../src/quantize/resolve-plan.ts";
import { pebble, runCli } from "../e2e/run-cli.ts";

const disk = vi.hoisted(() => ({ bytesLeft: Infinity }));
vi.mock("node:fs", async (importOriginal) => {
  const original = await importOriginal<typeof fs>();
  const writeSync = (file: number, data: Uint8Array, ...rest: [number, number, number]): number => {
    disk.bytesLeft -= rest[1];
    if (disk.bytesLeft >= 0) return original.writeSync(file, data, ...rest);
    throw Object.assign(new Error("ENOSPC: no space left on device, write"), {
      code: "ENOSPC",
      syscall: "write",
    });
  };
  return { ...original, writeSync };
});

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), "millrace-disk-"));
});
afterEach(() => {
  disk.bytesLeft = Infinity;
  rmSync(folder, { recursive: true });
});

function planTo(outPath: string): QuantizePlan {
  return { scheme: "w8a8", groupSize: null, dtype: "auto", outPath };
}

it("quantize leaves nothing behind when the disk is full on the way", async () => {
  const checkpoint = openCheckpoint(pebble);
  const plan = planTo(path.join(folder, "out"));
  const bytes = resolvePlan(checkpoint, plan).output.sizeBytes;
  for (const share of [0, 0.5, 0.99]) {
    disk.bytesLeft = Math.floor(bytes * share);
    await expect(quantize(checkpoint, plan)).rejects.toMatchObject({
      code: "disk_full",
      message: expect.stringMatching(/ENOSPC.*enough free space.*choose another --out/) as string,
    });
    expect(readdirSync(folder)).toEqual([]);
  }
  checkpoint.close();
});

it.runIf(process.platform === "linux")("quantize refuses /proc instead of trying for ever", async () => {
  const run = await runCli("quantize", pebble, "--out", "/proc/x");
  expect(run.exitCode).toBe(3);
  expect(run.stderr).toMatch(
    /\/proc\/x cannot be written: ENOENT.*writable folder.*\[output_unwritable\]\n$/,
  );
});

/** A file system of its own size at `folder`; false where that is not allowed. */
function mountAt(where: string, sizeBytes: number, mode: "rw" | "ro" = "rw"): boolean {
  const options = ["-t", "tmpfs", "-o", `${mode},size=${sizeBytes}`, "tmpfs", where];
  return spawnSync("mount", options).status === 0;
}

function unmount(where: string): void {
  expect(spawnSync("umount", [where]).status).toBe(0);
}

function canMount(): boolean {
  const where = mkdtempSync(path.join(tmpdir(), "millrace-mount-"));
  const isMounted = mountAt(where, 1 << 20);
  if (isMounted) unmount(where);
  rmSync(where, { recursive: true });
  return isMounted;
}

const mountMark = canMount() ? "" : " [needs the right to mount a tmpfs]";

describe.skipIf(mountMark !== "")(`quantize to a small file system${mountMark}`, () => {
  let small = "";
  const mountSmall = (sizeBytes: number, mode?: "ro"): void => {
    small = path.join(folder, "small");
    mkdirSync(small);
    expect(mountAt(small, sizeBytes, mode)).toBe(true);
  };
  afterEach(() => unmount(small));

  it("is refused before anything is written when the weights do not fit", async () => {
    mountSmall(2 << 20);
    const run = await runCli("quantize", pebble, "--out", path.join(small, "out"));
    expect(run.exitCode).toBe(3);
    expect(run.stderr).toMatch(
      /small has .*MiB free; the weights need .*MiB\. Free some or choose another --out.*\[disk_full\]\n$/,
    );
    expect(readdirSync(small)).toEqual([]);
  });

  it("leaves nothing when it is full after the weights", async () => {
    const checkpoint = openCheckpoint(pebble);
    const bytes = resolvePlan(checkpoint, planTo(small)).output.sizeBytes;
    checkpoint.close();
    // Room for the weights and their header, but not for the tokenizer, which has more than 100 kB.
    mountSmall(bytes + (64 << 10));
    const run = await runCli("quantize", pebble, "--out", path.join(small, "out"));
    expect(run.exitCode).toBe(3);
    expect(run.stderr).toMatch(/out\.partial\/\S+ cannot be written: ENOSPC.*Free some or.*\[disk_full\]\n$/);
    expect(readdirSync(small)).toEqual([]);
  });

  it("leaves nothing when others fill it meanwhile", async () => {
    mountSmall(16 << 20);
    const checkpoint = openCheckpoint(pebble);
    let stage = "";
    const fillDisk = (): void => {
      if (!stage.startsWith("quantize")) return;
      try {
        for (;;) appendFileSync(path.join(small, "others"), Buffer.alloc(1 << 16));
      } catch (error) {
        expect(error).toMatchObject({ code: "ENOSPC" });
      }
    };
    const run = quantize(checkpoint, planTo(path.join(small, "out")), {
      progress: { ...silentProgress, start: (label) => (stage = label), update: fillDisk },
    });
    await expect(run).rejects.toMatchObject({ code: "disk_full", cause: { code: "ENOSPC" } });
    expect(readdirSync(small)).toEqual(["others"]);
    checkpoint.close();
  });

  it("is refused when it is read-only", async () => {
    mountSmall(16 << 20, "ro");
    const run = await runCli("quantize", pebble, "--out", path.join(small, "out"));
    expect(run.exitCode).toBe(3);
    expect(run.stderr).toMatch(/out cannot be written: EROFS.*\[output_unwritable\]\n$/);
  });

  it("is refused in place of a mount point, with what to do", async () => {
    mountSmall(16 << 20);
    const run = await runCli("quantize", pebble, "--out", small);
    expect(run.exitCode).toBe(3);
    expect(run.stderr).toMatch(/mount point.*new one inside.*\[output_unwritable\]\n$/);
    expect(readdirSync(folder)).toEqual(["small"]);
  });
});
