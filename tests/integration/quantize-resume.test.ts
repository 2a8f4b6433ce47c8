import { createHash } from "node:crypto";
import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { MillraceError } from "../../src/base/errors.ts";
import { packagePath } from "../../src/base/package-folder.ts";
import { type Progress, silentProgress } from "../../src/base/progress.ts";
import type { Checkpoint } from "../../src/formats/checkpoint.ts";
import { openCheckpoint } from "../../src/formats/open-checkpoint.ts";
import { readSafetensorsHeader } from "../../src/formats/safetensors.ts";
import { loadTokenizerSource } from "../../src/formats/tokenizer-source.ts";
import { programBytes } from "../../src/quantize/memory-plan.ts";
import type { QuantizePlan } from "../../src/quantize/plan.ts";
import { quantize } from "../../src/quantize/quantize.ts";
import type { QuantizationManifest } from "../../src/records/quantization-manifest.ts";
import { describeWithData, testData } from "../test-data.ts";

let folder = "";
let base: Checkpoint;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), "millrace-resume-"));
  base = openCheckpoint(testData("models", "compressed-tensors", "base"));
});
afterEach(() => {
  base.close();
  rmSync(folder, { recursive: true });
});

/** So little memory that rows come in bands of 32, and one linear has several. */
const narrow = programBytes + 8 * 32 * 300;

function planOf(change: Partial<QuantizePlan> = {}): QuantizePlan {
  return {
    scheme: "w4a16",
    groupSize: 32,
    symmetric: false,
    method: "estimate",
    dtype: "auto",
    maxMemoryBytes: narrow,
    outPath: path.join(folder, "out"),
    ...change,
  };
}

const partial = (name: string): string => path.join(folder, "out.partial", name);
const hashOf = (outPath: string): string =>
  createHash("sha256")
    .update(readFileSync(path.join(outPath, "model.safetensors")))
    .digest("hex");

/** Counts bands, and stops the run at the one of that number. */
function stopAt(band: number): { readonly progress: Progress; readonly numBands: () => number } {
  let count = 0;
  const update = (): void => {
    count += 1;
    if (count === band) throw new MillraceError("interrupted", "Stopped.");
  };
  return { progress: { ...silentProgress, update }, numBands: () => count };
}

describeWithData("a quantisation that is interrupted", () => {
  it("gives the same bytes whatever band it is stopped at, in bands of any size", async () => {
    const whole = stopAt(-1);
    const reference = path.join(folder, "reference");
    await quantize(base, planOf({ outPath: reference }), { progress: whole.progress });
    const expected = hashOf(reference);
    await quantize(base, planOf({ outPath: path.join(folder, "wide"), maxMemoryBytes: null }));
    expect(hashOf(path.join(folder, "wide"))).toBe(expected);
    const numBands = whole.numBands();
    expect(numBands).toBeGreaterThan(40);
    for (let point = 0; point < 20; point += 1) {
      const first = stopAt(1 + Math.floor((point * numBands) / 20));
      await expect(quantize(base, planOf(), { progress: first.progress })).rejects.toMatchObject({
        code: "interrupted",
      });
      const second = stopAt(1 + Math.floor(numBands / 2));
      const after = await quantize(base, planOf(), { progress: second.progress }).catch(() => null);
      const manifest = after ?? (await quantize(base, planOf()));
      if (point > 2)
        expect(manifest.notes.join()).toMatch(/\d+ matri(x is|ces are) of a run that was interrupted/);
      expect(hashOf(planOf().outPath)).toBe(expected);
      expect(readdirSync(folder).toSorted()).toEqual(["out", "reference", "wide"]);
      rmSync(planOf().outPath, { recursive: true });
    }
  });

  const interrupt = async (): Promise<void> => {
    await expect(quantize(base, planOf(), stopAt(40))).rejects.toMatchObject({ code: "interrupted" });
  };

  /** Files of the folder are the manifest's, and those that a model has. */
  const expectOnlyOwn = ({ files }: QuantizationManifest): void => {
    const listed = files.map(({ name }) => name);
    expect([...listed, "millrace-manifest.json"].toSorted()).toEqual(
      readdirSync(planOf().outPath).toSorted(),
    );
    expect(listed).not.toEqual(expect.arrayContaining([expect.stringMatching(/calibration|partial|mine/)]));
  };

  it("takes no files along that lie beside what it had written", async () => {
    await interrupt();
    writeFileSync(partial("mine.txt"), "not of the model");
    const manifest = await quantize(base, planOf());
    expect(manifest.notes.join()).toMatch(/\d+ matrices are of a run that was interrupted/);
    expectOnlyOwn(manifest);
  });

  it("makes again what was damaged meanwhile, and ignores a line that was cut", async () => {
    const reference = path.join(folder, "reference");
    await quantize(base, planOf({ outPath: reference }));
    await interrupt();
    const file = partial("model.safetensors.partial");
    const [, module] = /"module":"([^"]+)"/.exec(readFileSync(partial(".millrace-partial"), "utf8"))!;
    const { offset } = readSafetensorsHeader(path.join(reference, "model.safetensors")).entries.get(
      `${module}.weight_packed`,
    )!;
    const bytes = readFileSync(file);
    bytes[offset + 5] = bytes[offset + 5]! ^ 1;
    writeFileSync(file, bytes);
    appendFileSync(partial(".millrace-partial"), '{"module":"model.la');
    const manifest = await quantize(base, planOf());
    expect(manifest.notes.join()).toContain(`1 matrix of that run was damaged, ${module}`);
    expect(hashOf(planOf().outPath)).toBe(hashOf(reference));
  });

  it("stays where the next run cannot read the model, and is gone on with by the one after", async () => {
    await interrupt();
    const { file } = base.tensors[0]!;
    const lost = new Proxy(base, {
      get: (target, key) => {
        if (key === "tensors") return base.tensors.map((tensor) => ({ ...tensor, file: `${file}.lost` }));
        const value: unknown = Reflect.get(target, key, target);
        return typeof value === "function" ? (value.bind(target) as unknown) : value;
      },
    });
    await expect(quantize(lost, planOf())).rejects.toMatchObject({
      code: "file_not_found",
      message: expect.stringMatching(/safetensors\.lost cannot be read: ENOENT/) as string,
    });
    const manifest = await quantize(base, planOf());
    expect(manifest.notes.join()).toMatch(/\d+ matri(x is|ces are) of a run that was interrupted/);
  });

  it("is not touched while another process writes it", async () => {
    await interrupt();
    writeFileSync(partial(".millrace-lock"), String(process.ppid));
    await expect(quantize(base, planOf())).rejects.toMatchObject({
      code: "output_exists",
      message: expect.stringMatching(/out\.partial is being written by process \d+\./) as string,
    });
    expect(readdirSync(folder)).toEqual(["out.partial"]);
    // No process has this number: the one that wrote was killed.
    writeFileSync(partial(".millrace-lock"), String(2 ** 30));
    await quantize(base, planOf());
    expect(readdirSync(planOf().outPath)).not.toContain(".millrace-lock");
  });

  it("is not gone on with by another plan, unless that may take its place", async () => {
    await interrupt();
    const other = planOf({ scheme: "w3a16" });
    const otherVocabulary = planOf({
      tokenizer: loadTokenizerSource(packagePath("models/pebble/model")),
      maxMemoryBytes: null,
    });
    for (const plan of [other, otherVocabulary]) {
      await expect(quantize(base, plan)).rejects.toMatchObject({
        code: "output_exists",
        message: expect.stringMatching(/out\.partial holds an interrupted run of another plan/) as string,
      });
    }
    expect(readdirSync(folder)).toEqual(["out.partial"]);
    writeFileSync(partial("millrace-calibration.json"), "of that plan");
    writeFileSync(partial("model.gguf.partial"), "of that plan");
    const manifest = await quantize(base, { ...other, replaceEarlier: true });
    expect(manifest.notes.join()).not.toContain("interrupted");
    expect(readdirSync(folder)).toEqual(["out"]);
    expectOnlyOwn(manifest);
  });
});

describeWithData("--max-memory", () => {
  it("is stated before the start, and refused when it is too little", async () => {
    const seen: number[] = [];
    await quantize(base, planOf(), { onMemory: ({ peakBytes }) => seen.push(peakBytes) });
    expect(seen[0]).toBeLessThanOrEqual(narrow);
    const plan = planOf({ outPath: path.join(folder, "none"), maxMemoryBytes: 64 << 20 });
    await expect(quantize(base, plan)).rejects.toMatchObject({
      code: "out_of_memory",
      message: expect.stringMatching(
        /--max-memory is 64\.0 MiB.*takes at least .* MiB \(32 rows of 288/,
      ) as string,
    });
    expect(readdirSync(folder)).toEqual(["out"]);
  });
});
