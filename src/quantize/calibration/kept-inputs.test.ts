import { expect, test } from "vitest";
import type { InputSample } from "./collect-statistics.ts";
import { KeptInputs } from "./kept-inputs.ts";

function sampleOf(cols: number): InputSample {
  return { rows: new Float32Array(cols), largest: new Float32Array(cols), mean: new Float32Array(cols) };
}

/** Asks for inputs of one column each; returns the names that had to be found. */
async function askFor(kept: KeptInputs, key: string, names: readonly string[]): Promise<readonly string[]> {
  let asked: readonly string[] = [];
  const inputs = new Map(names.map((name) => [name, 1]));
  const found = await kept.samples.complete(key, inputs, (missing) => {
    asked = [...missing.keys()];
    return Promise.resolve(new Map([...missing].map(([name, cols]) => [name, sampleOf(cols)])));
  });
  for (const name of names) expect(found.has(name)).toBe(true);
  return asked;
}

test("finds only the inputs that are not kept", async () => {
  const kept = new KeptInputs();
  expect(await askFor(kept, "a", ["q", "up"])).toEqual(["q", "up"]);
  expect(await askFor(kept, "a", ["up", "q"])).toEqual([]);
  expect(await askFor(kept, "a", ["q", "up", "down"])).toEqual(["down"]);
  expect(await askFor(kept, "a", ["q"])).toEqual([]);
  expect(await askFor(kept, "a", ["down"])).toEqual([]);
});

test("lets go of what another part of the model, or another key, does not ask for", async () => {
  const kept = new KeptInputs();
  await askFor(kept, "a", ["layer 0"]);
  expect(await askFor(kept, "a", ["layer 1"])).toEqual(["layer 1"]);
  expect(await askFor(kept, "a", ["layer 0"])).toEqual(["layer 0"]);
  expect(await askFor(kept, "b", ["layer 0"])).toEqual(["layer 0"]);
});
