// The record of tests/perf/quality-table.mjs as a page. No measuring here: the page follows from the record alone.

/** Rows of a table, smallest first; those that were refused are left out. */
export function qualityTable(rows) {
  const measured = rows.filter((row) => row.refused === undefined);
  return [
    "| Scheme and method | MB | Mean KL | Same top token, % | Perplexity ratio |",
    "| --- | ---: | ---: | ---: | ---: |",
    ...measured
      .toSorted((a, b) => a.sizeBytes - b.sizeBytes)
      .map(({ name, sizeBytes, kl, topAgreement, perplexity }) => {
        const error = kl.standardError === null ? "" : ` ± ${kl.standardError.toFixed(4)}`;
        const cells = [
          name,
          (sizeBytes / 1e6).toFixed(1),
          `${kl.mean.toFixed(4)}${error}`,
          (100 * topAgreement.mean).toFixed(1),
          perplexity.ratio.toFixed(4),
        ];
        return `| ${cells.join(" | ")} |`;
      }),
  ];
}

export function compressionPage({ model, text, numTokens, calibration, rows }) {
  return [
    "# Quality of compressed models",
    "",
    "Generated from `docs/compression-table.json`, which `node tests/perf/quality-table.mjs --record` writes, by",
    "`node scripts/generate-docs.mjs`.",
    "",
    `${model}; the first ${numTokens.toLocaleString("en")} tokens of ${text}. KL is that of the float model's distribution`,
    "from the compressed one's, in nats per token, through the kernels of this engine for all rows. Errors are standard",
    `errors. ${calibration}`,
    "",
    ...qualityTable(rows),
    "",
  ].join("\n");
}
