import { expect, test } from "vitest";
import { dequantize } from "../../src/formats/dequantize.ts";
import { readQuantization } from "../../src/formats/quantized/quantized-linears.ts";
import { readerOf } from "../tensor-reader.ts";
import { repositoryPath } from "../test-data.ts";
import { readJson } from "./golden-files.ts";

interface Encoded {
  readonly shape: readonly number[];
  readonly data: string;
}

interface Case {
  readonly name: string;
  readonly config: {
    readonly bits: number;
    readonly desc_act?: boolean;
    readonly sym?: boolean;
    readonly load_in_4bit?: boolean;
  };
  readonly tensors: Readonly<Record<string, Encoded & { readonly dtype: string }>>;
  readonly values: Encoded;
}

const { cases } = readJson<{ cases: Case[] }>(
  repositoryPath("tests", "golden", "recorded", "packed-linears.json"),
);

/** f32 rounds scale · q and the zero point's part once each; the projects' own code rounds their difference's product. */
const maxError = 2 ** -22;

test.each(cases)(
  "$name: what the project packed has the values that its own code unpacks",
  ({ config, tensors, values }) => {
    const bytesOf = ({ data }: Encoded): Uint8Array => Uint8Array.from(Buffer.from(data, "base64"));
    const reader = readerOf(
      Object.fromEntries(
        Object.entries(tensors).map(([name, tensor]) => [name, { ...tensor, data: bytesOf(tensor) }]),
      ),
    );
    const weight = readQuantization({ quantization_config: config })!.read("m", reader)!;
    const isTable = config.load_in_4bit === true;
    expect(weight.kind).toBe(isTable ? "dense" : config.desc_act === true ? "reordered" : "integer");
    const expected = new Float32Array(bytesOf(values).buffer);
    const found = dequantize(weight);
    expect([weight.rows, weight.cols]).toEqual(values.shape);
    expect(found.length).toBe(expected.length);
    const size = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    for (const [i, value] of found.entries()) {
      if (isTable || config.sym === true) expect(value).toBe(expected[i]! + 0);
      else expect(Math.abs(value - expected[i]!)).toBeLessThanOrEqual(maxError * size);
    }
  },
);
