import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { MillraceError } from "../../src/base/errors.ts";
import { silentProgress } from "../../src/base/progress.ts";
import { dequantize } from "../../src/formats/dequantize.ts";
import { readGgufHeader } from "../../src/formats/gguf/header.ts";
import { openCheckpoint } from "../../src/formats/open-checkpoint.ts";
import { createFastestSolver } from "../../src/kernels/create-solver.ts";
import { referenceSolver } from "../../src/kernels/reference/reference-solver.ts";
import type { GgufSchemeName } from "../../src/quantize/gguf/type-rule.ts";
import { programBytes } from "../../src/quantize/memory-plan.ts";
import type { QuantizePlan } from "../../src/quantize/plan.ts";
import { quantize } from "../../src/quantize/quantize.ts";
import { verifyQuantized } from "../../src/quantize/verify.ts";
import { describeWithData, testData, tinyFamilies } from "../test-data.ts";

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), "millrace-gguf-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

const source = (): string => testData("models", "gguf", "f16.gguf");
/** What llama-quantize made of the same weights. */
const peer = (scheme: string): string => testData("models", "gguf", `${scheme}.gguf`);

let numRuns = 0;

/** Quantises into a new folder and returns the file. */
async function write(model: string, change: Partial<QuantizePlan>, numThreads = 2): Promise<string> {
  const outPath = path.join(folder, `${(numRuns += 1)}`);
  const checkpoint = openCheckpoint(model);
  const solver = createFastestSolver(numThreads);
  try {
    const plan = { scheme: "q8_0", groupSize: null, dtype: "auto", outPath, ...change } as const;
    await quantize(checkpoint, plan, { solver });
    return path.join(outPath, "model.gguf");
  } finally {
    solver.close();
    checkpoint.close();
  }
}

interface RawTensor {
  readonly type: string;
  readonly bytes: Uint8Array;
}

function rawTensors(file: string): Map<string, RawTensor> {
  const all = readFileSync(file);
  const { tensors } = readGgufHeader(file);
  return new Map(
    [...tensors.values()].map(({ name, type, offset, sizeBytes }) => [
      name,
      { type: type.name, bytes: all.subarray(offset, offset + sizeBytes) },
    ]),
  );
}

const typesOf = (file: string): Record<string, string> =>
  Object.fromEntries([...rawTensors(file)].map(([name, { type }]) => [name, type]));
const fileTypeOf = (file: string): unknown => readGgufHeader(file).metadata.get("general.file_type");

const modules = [0, 1].flatMap((layer) =>
  ["self_attn.q_proj", "self_attn.v_proj", "mlp.down_proj", "mlp.gate_proj"].map(
    (name) => `model.layers.${layer}.${name}`,
  ),
);

/** Σ over some linears of (|w| + rms of the group) · error², which is what llama.cpp searches by, and of error² alone. */
function errorsOf(file: string): { readonly weighted: number; readonly plain: number } {
  const [from, to] = [source(), file].map((each) => openCheckpoint(each));
  const sums = { weighted: 0, plain: 0 };
  for (const module of [...modules, "lm_head"]) {
    const [wanted, found] = [from, to].map((each) => dequantize(each!.linear(module)));
    for (let start = 0; start < wanted!.length; start += 32) {
      const group = wanted!.subarray(start, start + 32);
      const rms = Math.sqrt(group.reduce((sum, value) => sum + value * value, 0) / 32);
      for (const [i, value] of group.entries()) {
        const error = (value - found![start + i]!) ** 2;
        sums.weighted += (Math.abs(value) + rms) * error;
        sums.plain += error;
      }
    }
  }
  return sums;
}

const schemes = [
  "q8_0",
  "q5_1",
  "q5_0",
  "q4_1",
  "q4_0",
  "q6_k",
  "q5_k_m",
  "q4_k_m",
  "q4_k_s",
  "iq4_nl",
] as const;

describeWithData("a GGUF file of ours beside that of llama-quantize", () => {
  test.each(schemes)("%s gives every tensor the same type", async (scheme) => {
    const file = await write(source(), { scheme });
    expect(typesOf(file)).toEqual(typesOf(peer(scheme)));
    expect(fileTypeOf(file)).toBe(fileTypeOf(peer(scheme)));
  });

  test.each(schemes.slice(0, 5))("%s by rtn has the same bytes but for a head in Q6_K", async (scheme) => {
    const own = rawTensors(await write(source(), { scheme, method: "rtn" }));
    let numCompared = 0;
    for (const [name, { type, bytes }] of rawTensors(peer(scheme))) {
      if (type === "Q6_K") continue;
      numCompared += 1;
      expect(Buffer.compare(own.get(name)!.bytes, bytes), name).toBe(0);
    }
    expect(numCompared).toBeGreaterThanOrEqual(20);
  });

  test.each(schemes)("%s by mse is nearer to the weights, also as llama.cpp weighs them", async (scheme) => {
    const own = errorsOf(await write(source(), { scheme, method: "mse" }));
    const other = errorsOf(peer(scheme));
    expect(own.plain).toBeLessThan(0.98 * other.plain);
    expect(own.weighted).toBeLessThan(other.weighted);
  });
});

const hashOf = (file: string): string => createHash("sha256").update(readFileSync(file)).digest("hex");

describeWithData("quantising to GGUF", () => {
  test("gives the same bytes on any number of threads, in bands of any size, and after any interruption", async () => {
    const plan = { scheme: "q4_k_m", method: "estimate" } as const satisfies {
      scheme: GgufSchemeName;
      method: string;
    };
    const expected = hashOf(await write(source(), plan, 1));
    expect(hashOf(await write(source(), plan, 3))).toBe(expected);
    const narrow = { ...plan, maxMemoryBytes: programBytes + (2 << 20) };
    expect(hashOf(await write(source(), narrow))).toBe(expected);

    const outPath = path.join(folder, "interrupted");
    const checkpoint = openCheckpoint(source());
    const solver = createFastestSolver(1);
    const whole = { ...narrow, groupSize: null, dtype: "auto", outPath } as const;
    let state = 1;
    let numStops = 0;
    for (let turn = 0; turn < 20; turn += 1) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      let left = 1 + (state >>> 28);
      const update = (): void => {
        left -= 1;
        if (left === 0) throw new MillraceError("interrupted", "Stopped.");
      };
      const done = await quantize(checkpoint, whole, {
        solver,
        progress: { ...silentProgress, update },
      }).catch((error: unknown) => {
        expect(error).toMatchObject({ code: "interrupted" });
        numStops += 1;
        return null;
      });
      if (done !== null) break;
    }
    expect(numStops).toBeGreaterThan(2);
    await quantize(checkpoint, { ...whole, replaceEarlier: true }, { solver });
    expect(hashOf(path.join(outPath, "model.gguf"))).toBe(expected);
    await verifyQuantized(outPath, openCheckpoint, { solver: referenceSolver });
    solver.close();
    checkpoint.close();
  });

  test.each(tinyFamilies)("of %s gives what was rounded, tensor by tensor", async (family) => {
    const file = await write(testData("models", "tiny", family), { scheme: "q4_k_s", method: "estimate" });
    await verifyQuantized(path.dirname(file), openCheckpoint, { solver: referenceSolver });
    // Rows of 64 and 128 columns are no blocks of 256.
    expect(typesOf(file)["blk.0.attn_output.weight"]).toMatch(/^Q5_[01]$/);
  });

  test.each([
    [{ groupSize: 32 }, "--group-size"],
    [{ symmetric: false }, "--asymmetric"],
  ] as const)("refuses %o, which a GGUF file has no place for", async (change, param) => {
    await expect(write(source(), { scheme: "q4_k_m", ...change })).rejects.toMatchObject({
      code: "invalid_scheme",
      param,
    });
  });

  test("writes a head as it is asked to", async () => {
    const inInt8 = await write(source(), { scheme: "q4_k_m", head: "int8" });
    const inBf16 = await write(source(), { scheme: "q4_k_m", head: "bf16" });
    expect([inInt8, inBf16].map((file) => typesOf(file)["output.weight"])).toEqual(["Q8_0", "BF16"]);
  });
});
