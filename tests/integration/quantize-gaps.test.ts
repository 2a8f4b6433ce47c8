import { expect, it } from "vitest";
import { openCheckpoint } from "../../src/formats/open-checkpoint.ts";
import { resolvePlan } from "../../src/quantize/resolve-plan.ts";
import { repositoryPath } from "../test-data.ts";

it.each(["model.layers.2.mlp.down_proj.weight", "model.norm.weight"])(
  "refuses a model without %s before a weight is read",
  (name) => {
    const whole = openCheckpoint(repositoryPath("models/pebble/model"));
    const gapped = openCheckpoint(repositoryPath("models/pebble/model"));
    gapped.named = () => whole.named().filter((tensor) => tensor.name !== name);
    const plan = { groupSize: null, dtype: "auto", outPath: "" } as const;
    for (const scheme of ["w4a16", "iq4_nl"] as const) {
      expect(() => resolvePlan(whole, { ...plan, scheme })).not.toThrow();
      expect(() => resolvePlan(gapped, { ...plan, scheme })).toThrow(
        expect.objectContaining({ code: "tensor_missing", message: expect.stringContaining(name) as string }),
      );
    }
    for (const checkpoint of [whole, gapped]) checkpoint.close();
  },
);
