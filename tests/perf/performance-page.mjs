// The record of `npm run perf` as a page. No measuring here: the page follows from the record alone.

const giga = (value, digits = 1) => (value / 1e9).toFixed(digits);
const percent = (share) => `${(100 * share).toFixed(0)} %`;

function table(head, rows) {
  return [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`);
}

function quantile(values, share) {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(share * (sorted.length - 1))];
}

function spread(values, digits) {
  // What a peer does not tell: JSON has null for it.
  if (values.some((value) => value === undefined || value === null)) return "–";
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return `${quantile(values, 0.5).toFixed(digits)} (${low.toFixed(digits)} to ${high.toFixed(digits)})`;
}

function ceilingRows(readings) {
  const names = {
    readBytes: ["read from memory", "GB/s"],
    int8Operations: ["int8 products", "GOP/s"],
    int4Operations: ["int4 products", "GOP/s"],
    bf16Operations: ["bf16 products", "GFLOP/s"],
    f32Operations: ["f32 products", "GFLOP/s"],
  };
  return Object.entries(names).map(([key, [name, unit]]) => [
    `${name}, ${unit}`,
    spread(
      readings.map((reading) => reading[key] / 1e9),
      1,
    ),
  ]);
}

const originLine = ({ machine, millrace, date }) => `${machine}, Millrace ${millrace}, ${date}.`;

function linearsSection(linears) {
  const rows = linears.runs.map((run) => [
    run.form,
    run.shape,
    String(run.numRows),
    giga(run.bytes / run.seconds.lowest),
    giga(run.operations / run.seconds.lowest, 0),
    `${(run.seconds.lowest * 1e6).toFixed(0)} (${(run.seconds.median * 1e6).toFixed(0)})`,
    `${percent(run.roofline.median)} (${percent(run.roofline.lowest)} to ${percent(run.roofline.highest)})`,
  ]);
  return [
    "## What the machine can do",
    "",
    originLine(linears),
    "",
    "Measured by loops that do nothing else, in turn with the kernels: median, lowest and highest.",
    "",
    ...table(["ceiling", "measured"], ceilingRows(linears.ceilings)),
    "",
    "## Linears",
    "",
    "Weights are not in any cache. GB/s and GOP/s are those of the fastest round, as what disturbs a kernel only makes it",
    "slower. The roofline is the longer of bytes and operations at the ceilings; kernels and ceilings are measured in five",
    "passes, in turn: the share is the median of the passes, with the lowest and the highest.",
    "",
    ...table(["form", "shape", "rows", "GB/s", "GOP/s", "µs (median)", "of the roofline"], rows),
    "",
  ];
}

function attentionSection(attention) {
  const rows = attention.runs.map((run) => [
    run.label,
    (run.seconds * 1e6).toFixed(0),
    giga(run.bytes / run.seconds),
    giga(run.operations / run.seconds, 0),
    percent(run.roofline),
  ]);
  return [
    "## Attention",
    "",
    originLine(attention),
    "",
    ...table(["load", "µs", "GB/s of KV", "GFLOP/s", "of the roofline"], rows),
    "",
  ];
}

function loadSection({ model, inputTokens, outputTokens, servers, ...origin }) {
  const [ours] = servers;
  const concurrencies = ours.rounds[0].stages.map((stage) => stage.concurrency);
  const valuesOf = (server, index, key) => server.rounds.map((round) => round.stages[index][key]);
  const ratioTo = (server, index) => {
    const theirs = valuesOf(server, index, "outputTokensPerSecond");
    const rates = valuesOf(ours, index, "outputTokensPerSecond");
    return server === ours
      ? "1"
      : spread(
          rates.map((rate, round) => rate / theirs[round]),
          2,
        );
  };
  const rows = concurrencies.flatMap((concurrency, index) =>
    servers.map((server) => [
      String(concurrency),
      server.name,
      spread(valuesOf(server, index, "outputTokensPerSecond"), 1),
      spread(valuesOf(server, index, "ttftMs"), 0),
      spread(valuesOf(server, index, "itlMs"), 1),
      ratioTo(server, index),
    ]),
  );
  const starts = servers.map((server) => [
    server.name,
    spread(
      server.rounds.map((round) => round.readyMs),
      0,
    ),
    spread(
      server.rounds.map((round) => round.peakMib),
      0,
    ),
  ]);
  const others = servers.flatMap((server) => server.rounds.map((round) => round.others));
  const head = ["in flight", "server", "output tokens/s", "TTFT, ms", "ITL, ms", "Millrace is faster by"];
  return [
    `### ${model}, ${inputTokens} prompt and ${outputTokens} output tokens`,
    "",
    originLine(origin),
    "",
    ...table(head, rows),
    "",
    ...table(["server", "ready after, ms", "peak memory, MiB"], starts),
    "",
    `Other processes used up to ${percent(Math.max(...others))} of the machine in a round.`,
    "",
  ];
}

function serversSection(loads) {
  return [
    "## Servers",
    "",
    "The same random prompt ids for all; one server at a time, in turn. Median, lowest and highest round; TTFT and ITL are",
    "medians of a round's requests. Ratios are of rounds side by side.",
    "",
    ...loads.flatMap(loadSection),
  ];
}

export function performancePage(record) {
  return [
    "# Performance",
    "",
    "Generated from `docs/performance.json` by `node scripts/generate-docs.mjs`. `npm run perf` measures; see the head of",
    "`tests/perf/perf.mjs`. Figures hold for one machine and hour: compare ratios and shares, not seconds.",
    "",
    ...(record.linears === undefined ? [] : linearsSection(record.linears)),
    ...(record.attention === undefined ? [] : attentionSection(record.attention)),
    ...(record.loads === undefined ? [] : serversSection(record.loads)),
  ].join("\n");
}
