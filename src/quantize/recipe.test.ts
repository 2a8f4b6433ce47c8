import { describe, expect, test } from "vitest";
import { readRecipe } from "./recipe.ts";
import { parseScheme } from "./scheme.ts";

const read = (text: string) => readRecipe(text, "recipe.yaml");

describe("a recipe of llm-compressor", () => {
  test("with a preset becomes the plan that flags make", () => {
    const text = `
quant_stage:
  quant_modifiers:
    SmoothQuantModifier:
      smoothing_strength: 0.8
    GPTQModifier:
      targets: ["Linear"]
      ignore: ["lm_head", "re:.*down_proj"]
      scheme: W8A8
      dampening_frac: 0.01
`;
    const { plan, notes } = read(text);
    expect(plan).toEqual({
      scheme: "w8a8",
      groupSize: null,
      symmetric: true,
      method: "gptq",
      smooth: true,
      ignore: ["re:.*down_proj"],
      head: "bf16",
    });
    expect(notes).toEqual([expect.stringContaining("smoothing_strength")]);
  });

  test("with groups becomes one scheme, and the head int8 where it has a group of its own", () => {
    const text = `
QuantizationModifier:
  ignore: lm_head
  config_groups:
    group_0:
      targets: [Linear]
      weights: {num_bits: 4, type: int, symmetric: false, strategy: group, group_size: 32, observer: mse}
      input_activations: {num_bits: 8, type: int, symmetric: true, dynamic: true, strategy: token}
    group_1:
      targets: [lm_head]
      weights: {num_bits: 8, strategy: channel}
`;
    expect(read(text).plan).toEqual({
      scheme: "w4a8",
      groupSize: 32,
      symmetric: false,
      method: "mse",
      smooth: false,
      ignore: [],
      head: "int8",
    });
  });

  test.each([
    ["AWQModifier: {scheme: W4A16_ASYM}", { method: "mse", smooth: true, symmetric: false, groupSize: 128 }],
    ["QuantizationModifier: {scheme: W8A16}", { method: "rtn", smooth: false, scheme: "w8a16" }],
    ["a_stage: {SmoothQuantModifier: }\nb_stage: {GPTQModifier: {scheme: W4A16}}", { smooth: true }],
  ])("%s", (text, plan) => {
    expect(read(text).plan).toMatchObject(plan);
  });

  test("may say a thing once and mean it twice", () => {
    const text = `
QuantizationModifier:
  config_groups:
    group_0: {targets: Linear, weights: &int8 {num_bits: 8, strategy: channel}}
    group_1: {targets: lm_head, weights: *int8}
`;
    expect(read(text).plan).toMatchObject({ scheme: "w8a16", head: "int8" });
  });

  test.each([
    ["AWQModifier: {scheme: W4A16, duo_scaling: true}", ["duo_scaling is not used"]],
    ["GPTQModifier: {scheme: W4A16, block_size: 128}", ["block_size is not used"]],
    [
      "GPTQModifier: {config_groups: {a: {targets: Linear, weights: {num_bits: 4, group_size: 32, observer: mse}}}}",
      ["observer is not used: GPTQModifier"],
    ],
    ["SmoothQuantModifier: {ignore: []}\nGPTQModifier: {scheme: W4A16}", []],
  ])("%s says what it does not use", (text, says) => {
    expect(read(text).notes).toEqual(says.map((note) => expect.stringContaining(note) as string));
  });

  test.each([
    [
      "SmoothQuantModifier: {ignore: [re:.*down_proj]}\nGPTQModifier: {scheme: W4A16}",
      /SmoothQuantModifier\.ignore/,
    ],
    ["SparseGPTModifier: {sparsity: 0.5}", /SparseGPTModifier at its top, which is not followed/],
    ["GPTQModifier: {scheme: W4A16, actorder: group}", /GPTQModifier\.actorder/],
    ["GPTQModifier: {scheme: W4A16, sequential_update: true}", /sequential_update/],
    ["QuantizationModifier: {scheme: FP8_DYNAMIC}", /scheme FP8_DYNAMIC; followed are W8A8/],
    ["QuantizationModifier: {scheme: W4A16, targets: [Embedding]}", /targets Embedding/],
    ["QuantizationModifier: {scheme: W4A16, kv_cache_scheme: {num_bits: 8}}", /kv_cache_scheme/],
    ["QuantizationModifier: {}", /either scheme or config_groups/],
    ["SmoothQuantModifier: {}", /no modifier that quantises/],
    ["GPTQModifier: {scheme: W4A16}\nSmoothQuantModifier: {}", /SmoothQuantModifier behind the modifier/],
    ["[1, 2]", /has \[1,2\] at its top/],
    ["a: [", /is not YAML/],
    ["&a {x_stage: *a}", /has an alias \(\*name\) inside the node that it stands for/],
    ["&a [*a]", /has an alias/],
    ["QuantizationModifier: {scheme: constructor}", /scheme constructor; followed are W8A8/],
  ])("%s is refused by name", (text, message) => {
    expect(() => read(text)).toThrow(message);
  });
});

test("a name that every object has is no scheme", () => {
  expect(() => parseScheme("constructor")).toThrow(/no scheme "constructor"/);
});
