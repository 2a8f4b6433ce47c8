// Runs every test and closes with one line: `N passed, N failed, N skipped`.
// With --require-data, a test that was skipped because the test data is missing counts as a failure of the run.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { runTool } from "./run-step.mjs";

const args = process.argv.slice(2);
const requireData = args.includes("--require-data");
const rest = args.filter((argument) => argument !== "--require-data");

if (runTool("tsc", ["-b"]) !== 0) process.exit(1);
const folder = mkdtempSync(path.join(os.tmpdir(), "millrace-test-"));
const reportFile = path.join(folder, "report.json");
const status = runTool("vitest", [
  "run",
  "--reporter=default",
  "--reporter=json",
  `--outputFile.json=${reportFile}`,
  ...rest,
]);

const counts = { passed: 0, failed: 0, skipped: 0, missingData: 0, brokenFiles: 0 };
try {
  const report = JSON.parse(readFileSync(reportFile, "utf8"));
  for (const file of report.testResults) {
    if (file.status === "failed" && file.assertionResults.length === 0) counts.brokenFiles += 1;
    for (const test of file.assertionResults) {
      if (test.status === "passed") counts.passed += 1;
      else if (test.status === "failed") counts.failed += 1;
      else {
        counts.skipped += 1;
        if (test.fullName.includes("[needs test data]")) counts.missingData += 1;
      }
    }
  }
} catch (error) {
  process.stderr.write(`The test report could not be read: ${error.message}\n`);
  counts.brokenFiles += 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}

const failed = counts.failed + counts.brokenFiles;
if (counts.missingData > 0) {
  process.stdout.write(`${counts.missingData} tests were skipped because the test data is missing.\n`);
}
process.stdout.write(`${counts.passed} passed, ${failed} failed, ${counts.skipped} skipped\n`);
const dataFault = requireData && counts.missingData > 0;
process.exit(status !== 0 || failed > 0 || counts.passed === 0 || dataFault ? 1 : 0);
