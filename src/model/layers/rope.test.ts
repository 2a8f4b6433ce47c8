import { describe, expect, test } from "vitest";
import { createReferenceOps } from "../../kernels/reference/reference-ops.ts";
import { computeFrequencies, loadRopeTable, type RopeOptions } from "./rope.ts";

const plain: RopeOptions = { theta: 10_000, rotaryDim: 8, scaling: null, maxPositionEmbeddings: 64 };
const withScaling = (scaling: Record<string, unknown>): RopeOptions => ({ ...plain, scaling });
const frequenciesOf = (scaling: Record<string, unknown>): number[] => [
  ...computeFrequencies(withScaling(scaling)).inverse,
];

describe("rotation frequencies", () => {
  test("fall by powers of theta", () => {
    const expected = [1, 0.1, 0.01, 0.001].map(Math.fround);
    for (const [i, frequency] of computeFrequencies(plain).inverse.entries()) {
      expect(frequency).toBeCloseTo(expected[i]!, 8);
    }
  });

  test("are divided by a linear factor, under either name of the type", () => {
    const expected = [0.25, 0.025, 0.0025, 0.00025];
    for (const scaling of [
      { rope_type: "linear", factor: 4 },
      { type: "linear", factor: 4 },
    ]) {
      for (const [i, frequency] of frequenciesOf(scaling).entries())
        expect(frequency).toBeCloseTo(expected[i]!, 8);
    }
  });

  test("follow llama3: short wavelengths kept, long ones divided, those between blended", () => {
    const scaling = { rope_type: "llama3", factor: 8, low_freq_factor: 1, high_freq_factor: 4 };
    const [first, second, third, last] = frequenciesOf({ ...scaling, original_max_position_embeddings: 200 });
    expect(first).toBe(1);
    // Wavelength 62.8 lies between 50 and 200: smooth = (200 / 62.8 − 1) / 3.
    const smooth = (200 / (20 * Math.PI) - 1) / 3;
    expect(second).toBeCloseTo(((1 - smooth) * 0.1) / 8 + smooth * 0.1, 7);
    expect(third).toBeCloseTo(0.01 / 8, 8);
    expect(last).toBeCloseTo(0.001 / 8, 8);
  });

  test("follow yarn, with its temperature on cos and sin", () => {
    const scaling = { rope_type: "yarn", factor: 4, original_max_position_embeddings: 32 };
    const { inverse, attentionFactor } = computeFrequencies(withScaling(scaling));
    expect(attentionFactor).toBeCloseTo(0.1 * Math.log(4) + 1, 12);
    // The ramp runs from frequency 0 (0 rotations of 32 fit) to 1 (one rotation fits).
    expect(inverse[0]).toBeCloseTo(1, 7);
    expect(inverse[1]).toBeCloseTo(0.025, 7);
    expect(inverse[3]).toBeCloseTo(0.00025, 9);
    const fixed = computeFrequencies(withScaling({ ...scaling, attention_factor: 1.5 }));
    expect(fixed.attentionFactor).toBe(1.5);
  });

  test("follow longrope: the short factors up to the original length, the long ones beyond", () => {
    const scaling = {
      rope_type: "longrope",
      short_factor: [1, 2, 3, 4],
      long_factor: [5, 6, 7, 8],
      original_max_position_embeddings: 16,
    };
    const options = withScaling(scaling);
    const short = computeFrequencies({ ...options, maxModelLen: 16 });
    expect(short.inverse[1]).toBeCloseTo(0.1 / 2, 7);
    const long = computeFrequencies({ ...options, maxModelLen: 17 });
    expect(long.inverse[3]).toBeCloseTo(0.001 / 8, 9);
    expect(long.attentionFactor).toBeCloseTo(Math.sqrt(1 + Math.log(4) / Math.log(16)), 12);
    expect(() => frequenciesOf({ ...scaling, long_factor: [1] })).toThrow(/long_factor = \[1\]/);
  });

  test("take GGUF's divisors one by one", () => {
    const frequencies = frequenciesOf({ rope_type: "frequency-factors", factors: [1, 2, 4, 8] });
    expect(frequencies[2]).toBeCloseTo(0.0025, 8);
  });

  test("of an unknown kind are refused with the known ones, wrong parameters by name", () => {
    expect(() => frequenciesOf({ rope_type: "dynamic" })).toThrow(/"dynamic"; known are .*yarn/);
    expect(() => frequenciesOf({ rope_type: "toString" })).toThrow(/known are/);
    expect(() => frequenciesOf({ rope_type: "linear", factor: "4" })).toThrow(/factor = "4"/);
    expect(() => frequenciesOf({ rope_type: "linear" })).toThrow(/factor = nothing/);
    expect(() => frequenciesOf({ rope_type: "frequency-factors", factors: [1] })).toThrow(/list of 4/);
  });
});

test("a table covers every position up to its length", () => {
  const table = loadRopeTable(createReferenceOps({ numThreads: 1 }), plain, 12);
  expect(table).toMatchObject({ maxPositions: 12, rotaryDim: 8 });
});
