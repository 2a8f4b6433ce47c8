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
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return `${quantile(values, 0.5).toFixed(digits)} (${low.toFixed(digits)} to ${high.toFixed(digits)})`;
}

function ceilingRows({ ceilings, ceilingsAfter }) {
  const names = {
    readBytes: ["read from memory", "GB/s"],
    int8Operations: ["int8 products", "GOP/s"],
    int4Operations: ["int4 products", "GOP/s"],
    f32Operations: ["f32 products", "GFLOP/s"],
  };
  return Object.entries(names).map(([key, [name, unit]]) => [
    `${name}, ${unit}`,
    giga(ceilings[key]),
    giga(ceilingsAfter[key]),
  ]);
}

function kernelsSection(kernels) {
  const linears = kernels.linears.map((run) => [
    run.form,
    run.shape,
    String(run.numRows),
    giga(run.bytes / run.seconds.lowest),
    giga(run.operations / run.seconds.lowest, 0),
    `${(run.seconds.lowest * 1e6).toFixed(0)} (${(run.seconds.median * 1e6).toFixed(0)})`,
    percent(run.roofline),
  ]);
  const attention = kernels.attention.map((run) => [
    run.label,
    (run.seconds * 1e6).toFixed(0),
    giga(run.bytes / run.seconds),
    giga(run.operations / run.seconds, 0),
    percent(run.roofline),
  ]);
  return [
    "## What the machine can do",
    "",
    "Measured by loops that do nothing else, before and after the kernels.",
    "",
    ...table(["ceiling", "before", "after"], ceilingRows(kernels)),
    "",
    "## Linears",
    "",
    "The fastest of nine rounds, as what disturbs a kernel only makes it slower; weights are not in any cache. The",
    "roofline is the longer of bytes and operations at the ceilings.",
    "",
    ...table(["form", "shape", "rows", "GB/s", "GOP/s", "µs (median)", "of the roofline"], linears),
    "",
    "## Attention",
    "",
    ...table(["load", "µs", "GB/s of KV", "GFLOP/s", "of the roofline"], attention),
    "",
  ];
}

function serversSection({ model, inputTokens, outputTokens, servers }) {
  const [ours, ...peers] = servers;
  const concurrencies = ours.rounds[0].stages.map((stage) => stage.concurrency);
  const rates = (server, index) => server.rounds.map((round) => round.stages[index].outputTokensPerSecond);
  const rows = concurrencies.flatMap((concurrency, index) => [
    [String(concurrency), ours.name, spread(rates(ours, index), 1), "1"],
    ...peers.map((peer) => {
      const theirs = rates(peer, index);
      const ratios = rates(ours, index).map((rate, round) => rate / theirs[round]);
      return [String(concurrency), peer.name, spread(theirs, 1), spread(ratios, 2)];
    }),
  ]);
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
  return [
    "## Servers",
    "",
    `${model}, ${inputTokens} prompt and ${outputTokens} output tokens, the same random ids for all; one server at a time, in`,
    `turn, ${ours.rounds.length} rounds. Median, lowest and highest round.`,
    "",
    ...table(["in flight", "server", "output tokens/s", "Millrace is faster by"], rows),
    "",
    ...table(["server", "ready after, ms", "peak memory, MiB"], starts),
    "",
  ];
}

export function performancePage(record) {
  return [
    "# Performance",
    "",
    "Generated from `docs/performance.json` by `node scripts/generate-docs.mjs`. `npm run perf` measures; see the head of",
    "`tests/perf/perf.mjs`. Figures hold for one machine and hour: compare ratios and shares, not seconds.",
    "",
    `${record.machine}, Millrace ${record.millrace}, ${record.date}.`,
    "",
    ...(record.kernels === undefined ? [] : kernelsSection(record.kernels)),
    ...(record.servers === undefined ? [] : serversSection(record.servers)),
  ].join("\n");
}
