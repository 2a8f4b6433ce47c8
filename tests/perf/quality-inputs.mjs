// What the rows in a folder of tests/perf/quality-table.mjs were measured of and on: a run that goes on must be of the same.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { hashFile } from "../../dist/quantize/file-hash.js";

const sha256Of = async (file) => (await hashFile(file)).sha256;

/**
 * Writes the inputs of a run to a file, or compares them with those of the run that wrote it. Throws where one differs. A
 * folder without the file is taken to be of these inputs.
 */
export async function checkInputs(file, { weights, text, maxTokens, calibrationSha256 }) {
  const inputs = {
    weightsSha256: await Promise.all(weights.toSorted().map(sha256Of)),
    textSha256: await sha256Of(text),
    maxTokens,
    calibrationSha256,
  };
  if (!existsSync(file)) {
    writeFileSync(file, `${JSON.stringify(inputs, null, 2)}\n`);
    return;
  }
  const earlier = JSON.parse(readFileSync(file, "utf8"));
  for (const [name, value] of Object.entries(inputs)) {
    const [wanted, given] = [earlier[name], value].map((each) => JSON.stringify(each));
    if (wanted === given) continue;
    throw new Error(
      `${name} is ${given}; what is in the folder of ${file} was made with ${wanted}. Give the same MODEL, TEXT, --max-tokens, --calibration and --calibration-size, or another --out.`,
    );
  }
}
