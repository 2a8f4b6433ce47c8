import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { expect, test } from "vitest";
import { writeRandomModel } from "../../tests/random-model.ts";
import { nativeStatus } from "../kernels/create-ops.ts";
import { defaultSampling } from "../protocol/sampling-params.ts";
import { defaultEngineOptions, type EngineOptions } from "./engine-options.ts";
import { createInProcessClient } from "./in-process-client.ts";
import { loadEngine } from "./load-engine.ts";

const { available, isas } = nativeStatus();
const kernels: Partial<EngineOptions>[] = [
  { backend: "reference" },
  ...(available ? isas.map((isa) => ({ isa })) : []),
];
const nan = 0x7fc0;

/** Places of one bfloat16 from the end of the weights: the final norm comes last, the embedding is also the head. */
const damages: Record<string, (file: Buffer) => number> = {
  "the final norm": (file) => file.length - 2,
  "one row of the head": (file) => 8 + Number(file.readBigUInt64LE(0)) + 200 * 64 * 2,
};

for (const [where, placeOf] of Object.entries(damages)) {
  test.each(kernels)(
    `a NaN in ${where} ends requests with an error, not with a token (%o)`,
    async (kernel) => {
      const model = writeRandomModel();
      const file = path.join(model.path, "model.safetensors");
      const bytes = readFileSync(file);
      bytes.writeUInt16LE(nan, placeOf(bytes));
      writeFileSync(file, bytes);
      const engine = await loadEngine({ ...defaultEngineOptions(model.path), ...kernel, numKvBlocks: 64 });
      const client = createInProcessClient(engine);
      for (const temperature of [0, 1]) {
        await expect(async () => {
          const sampling = { ...defaultSampling, temperature };
          for await (const _ of client.generate({ requestId: "r", promptTokenIds: [5, 6], sampling }));
        }).rejects.toMatchObject({
          code: "model_not_finite",
          message: expect.stringContaining("not a number"),
        });
      }
      await expect(client.score({ tokenIds: [5, 6, 7], start: 1, topK: 1 })).rejects.toMatchObject({
        code: "model_not_finite",
      });
      engine.checkInvariants();
      await client.close();
      model.remove();
    },
  );
}
