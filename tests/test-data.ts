import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { describe } from "vitest";

const repository: string = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..");

/** Folder of models and data that tests read but the repository does not hold. */
const root: string = process.env["MILLRACE_TEST_DATA"] ?? path.resolve(repository, "..", "shared");

export const hasTestData: boolean = existsSync(path.join(root, "models"));

/** Path of a file of the test data. */
export function testData(...parts: string[]): string {
  return path.join(root, ...parts);
}

/** Path of a file of the repository. */
export function repositoryPath(...parts: string[]): string {
  return path.join(repository, ...parts);
}

/** Put behind the name of what is skipped because the test data is missing; the test command counts by it. */
export const missingDataMark: string = hasTestData ? "" : " [needs test data]";

/** A suite that needs the test data. */
export function describeWithData(name: string, body: () => void): void {
  describe.skipIf(!hasTestData)(`${name}${missingDataMark}`, body);
}

/** Folders of the tiny models, one for each family or variant that transformers' logits are recorded of. */
export const tinyFamilies: readonly string[] = JSON.parse(
  readFileSync(repositoryPath("tests", "tiny-families.json"), "utf8"),
) as string[];
