import { expect, test } from "vitest";
import { chooseType, type GgufSchemeName, type MatrixFacts } from "./type-rule.ts";

const facts = {
  tensor: "blk.0.ffn_down.weight",
  cols: 1536,
  numLayers: 30,
  headsPerKvHead: 3,
  numExperts: 0,
  isTied: true,
  hasImatrix: false,
} as const satisfies MatrixFacts;

const typeOf = (scheme: GgufSchemeName, change: Partial<MatrixFacts>): string =>
  chooseType(scheme, { ...facts, ...change }).type;

/** As llama-quantize chooses (llama_tensor_get_type_impl); files of SmolLM2 have as many bytes of each type. */
test("gives the first eighth of the layers more bits for down", () => {
  const down = (layer: number, hasImatrix: boolean): string =>
    typeOf("iq4_nl", { tensor: `blk.${layer}.ffn_down.weight`, hasImatrix });
  expect([down(0, false), down(2, false), down(3, false)]).toEqual(["Q5_K", "Q5_K", "IQ4_NL"]);
  expect(down(0, true)).toBe("IQ4_NL");
});

test("gives values that many heads share, and experts, more bits", () => {
  const tensor = "blk.9.attn_v.weight";
  expect(typeOf("iq4_nl", { tensor })).toBe("IQ4_NL");
  expect(typeOf("iq4_nl", { tensor, headsPerKvHead: 4 })).toBe("Q5_K");
  expect(typeOf("iq4_nl", { tensor: "blk.9.attn_output.weight", numExperts: 8 })).toBe("Q5_K");
  expect(typeOf("iq4_nl", { tensor, numExperts: 8 })).toBe("Q8_0");
});

test("takes a head in Q6_K, or in Q8_0 where its rows are no blocks of 256", () => {
  expect(typeOf("iq4_nl", { tensor: "token_embd.weight", cols: 2048 })).toBe("Q6_K");
  expect(typeOf("iq4_nl", { tensor: "token_embd.weight", cols: 576 })).toBe("Q8_0");
  expect(typeOf("iq4_nl", { cols: 100 })).toBe("F16");
});
