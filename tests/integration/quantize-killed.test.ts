import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, expect, it } from "vitest";
import { packagePath } from "../../src/base/package-folder.ts";
import { numbers } from "../odd-weights.ts";

const numKills = 20;

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), "millrace-killed-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** `millrace quantize` of our own model, and the code or signal that it ends with. */
function start(outPath: string) {
  const calibration = ["--calibration", packagePath("README.md"), "--calibration-size", "8x64"];
  const scheme = ["--scheme", "w4a16", "--group-size", "32", "--method", "gptq", "--threads", "1"];
  const model = packagePath("models/pebble/model");
  const args = ["quantize", model, ...scheme, ...calibration, "--out", outPath];
  const child = spawn(process.execPath, [packagePath("dist/cli/main.js"), ...args], { stdio: "ignore" });
  const ended = once(child, "close") as Promise<[number | null, NodeJS.Signals | null]>;
  return { child, ended };
}

const hashOf = (outPath: string): string =>
  createHash("sha256")
    .update(readFileSync(path.join(outPath, "model.safetensors")))
    .digest("hex");

/** How many matrices a finished run took over from earlier ones; 0 where it began anew. */
function numTakenOver(outPath: string): number {
  const { notes } = JSON.parse(readFileSync(path.join(outPath, "millrace-manifest.json"), "utf8")) as {
    notes: string[];
  };
  const note = notes.find((text) => text.includes("of a run that was interrupted"));
  return Number.parseInt(note ?? "0", 10);
}

it("a calibrated run that is killed 20 times ends in the bytes of one that was not, with nothing beside them", async () => {
  const whole = path.join(folder, "whole");
  const beganMs = performance.now();
  expect(await start(whole).ended).toEqual([0, null]);
  const wholeMs = performance.now() - beganMs;
  const files = readdirSync(whole).toSorted();
  const out = path.join(folder, "out");
  const moments = numbers(numKills, 21).map((share) => Math.abs(share) * wholeMs);
  let numPartial = 0;
  let most = 0;
  const takeResult = (): void => {
    most = Math.max(most, numTakenOver(out));
    expect(hashOf(out)).toBe(hashOf(whole));
    expect(readdirSync(out).toSorted()).toEqual(files);
    expect(readdirSync(folder).toSorted()).toEqual(["out", "whole"]);
    rmSync(out, { recursive: true });
  };
  for (const moment of moments) {
    const { child, ended } = start(out);
    await Promise.race([sleep(moment), ended]);
    child.kill("SIGKILL");
    // It may have been done before it was killed, but never ends in an error of its own.
    expect([0, "SIGKILL"]).toContain((await ended).find((value) => value !== null));
    if (existsSync(out)) takeResult();
    else if (existsSync(`${out}.partial`)) numPartial += 1;
  }
  expect(await start(out).ended).toEqual([0, null]);
  takeResult();
  expect(numPartial).toBeGreaterThan(2);
  expect(most).toBeGreaterThan(0);
}, 300_000);
