// The record of tests/perf/quality-table.mjs as a page. No measuring here: the page follows from the record alone.

const bySize = (rows) =>
  rows
    .filter((row) => row.refused === undefined)
    .toSorted((a, b) => a.sizeBytes - b.sizeBytes || a.kl.mean - b.kl.mean);

/** Marks rows of another calibration. */
const otherCalibration = "†";

/** Rows of a table, smallest first; those that were refused are left out. */
export function qualityTable(rows, calibrationSha256) {
  return [
    "| Scheme and method | MB | Mean KL | Same top token, % | Perplexity ratio |",
    "| --- | ---: | ---: | ---: | ---: |",
    ...bySize(rows).map((row) => {
      const { name, sizeBytes, kl, topAgreement, perplexity } = row;
      const error = kl.standardError === null ? "" : ` ± ${kl.standardError.toFixed(4)}`;
      const cells = [
        isOther(row, calibrationSha256) ? `${name} ${otherCalibration}` : name,
        (sizeBytes / 1e6).toFixed(1),
        `${kl.mean.toFixed(4)}${error}`,
        (100 * topAgreement.mean).toFixed(1),
        perplexity.ratio.toFixed(4),
      ];
      return `| ${cells.join(" | ")} |`;
    }),
  ];
}

/** Whether a row was calibrated on the ids that a record has the hash of: llama.cpp cuts its pieces of the text itself. */
export function usesOurIds({ name, isCalibrated }) {
  return isCalibrated && !name.startsWith("llama-quantize ");
}

function isOther(row, calibrationSha256) {
  return usesOurIds(row) && row.calibrationSha256 !== calibrationSha256;
}

/** At the bytes of each file of another tool: the least KL that theirs and ours have within them. */
function besideOthers(rows) {
  const measured = bySize(rows);
  const bestOf = (wanted, limit) =>
    measured
      .filter((row) => wanted(row) && row.sizeBytes <= limit)
      .reduce((best, row) => (best === null || row.kl.mean < best.kl.mean ? row : best), null);
  const cellOf = (row) => (row === null ? "–" : `${row.kl.mean.toFixed(4)} (${row.name})`);
  const limits = new Set(measured.filter(({ isPeer }) => isPeer).map(({ sizeBytes }) => sizeBytes));
  return [
    "| MB | Theirs without calibration | Ours without | Theirs with | Ours with |",
    "| ---: | --- | --- | --- | --- |",
    ...[...limits].map((limit) => {
      const cells = [false, true].flatMap((uses) =>
        [true, false].map((peer) =>
          cellOf(
            bestOf(
              ({ isPeer = false, isCalibrated = false }) => isPeer === peer && (uses || !isCalibrated),
              limit,
            ),
          ),
        ),
      );
      return `| ${(limit / 1e6).toFixed(1)} | ${cells.join(" | ")} |`;
    }),
  ];
}

function measuredOn(rows) {
  const origins = rows.flatMap(({ origin }) => (origin === undefined ? [] : [origin]));
  if (origins.length === 0) return "Machine and day were not recorded.";
  const days = origins.map(({ startedAt }) => startedAt.slice(0, 10)).toSorted();
  const machines = new Set(origins.map(({ processor, kernels }) => `${processor}, kernels ${kernels}`));
  const period = days[0] === days.at(-1) ? days[0] : `${days[0]} to ${days.at(-1)}`;
  return `Measured on ${[...machines].join("; ")}; ${period}.`;
}

export function compressionPage({
  model,
  text,
  numTokens,
  calibrationSize,
  calibrationName,
  calibrationSha256,
  rows,
}) {
  const others = rows.some((row) => isOther(row, calibrationSha256))
    ? ` ${otherCalibration}: on others of it, whose hash is another or was not recorded.`
    : "";
  const cutElsewhere = rows.some((row) => row.isCalibrated && !usesOurIds(row))
    ? " Importance matrices of llama-quantize are instead of the first pieces of the same text, as many and as long, cut by llama.cpp's own tokenizer."
    : "";
  const calibration =
    calibrationSize === null
      ? "No row was calibrated."
      : `Rows with imatrix, gptq or smooth, and mixed ones, were calibrated on ${calibrationSize} tokens of ${calibrationName}, ids of SHA-256 ${calibrationSha256}.${others}${cutElsewhere}`;
  return [
    "# Quality of compressed models",
    "",
    "Generated from `docs/compression-table.json`, which `node tests/perf/quality-table.mjs --record` writes, by",
    "`node scripts/generate-docs.mjs`.",
    "",
    `${model}; the first ${numTokens.toLocaleString("en")} tokens of ${text}. KL is that of the float model's distribution`,
    "from the compressed one's, in nats per token, through the kernels of this engine for all rows. Errors are standard",
    `errors. MB are those of the tensors. ${calibration}`,
    "",
    measuredOn(rows),
    "",
    ...qualityTable(rows, calibrationSha256),
    "",
    "## Beside other tools at equal bytes",
    "",
    "The least mean KL among files that are no larger than the one of another tool; – where none was measured.",
    "",
    ...besideOthers(rows),
    "",
  ].join("\n");
}
