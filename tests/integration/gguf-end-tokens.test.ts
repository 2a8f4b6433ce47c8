import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect, it } from "vitest";
import { openCheckpoint } from "../../src/formats/open-checkpoint.ts";
import { quantize } from "../../src/quantize/quantize.ts";
import { repositoryPath } from "../test-data.ts";

it("keeps every token that ends an answer in a GGUF file", async () => {
  const folder = mkdtempSync(path.join(tmpdir(), "millrace-ends-"));
  const base = openCheckpoint(repositoryPath("models/pebble/model"));
  const outPath = path.join(folder, "out");
  await quantize(base, { scheme: "q8_0", groupSize: null, dtype: "auto", outPath });
  const written = openCheckpoint(path.join(outPath, "model.gguf"));
  expect(written.config.eosTokenIds).toEqual([2, 0]);
  for (const checkpoint of [base, written]) checkpoint.close();
  rmSync(folder, { recursive: true });
});
