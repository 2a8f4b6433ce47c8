import type { SloSearchRecord } from "../records/slo-search.ts";
import { formatTable } from "./terminal.ts";

const markNote =
  "? marks a figure whose interval holds the limit, which has too few samples, or which requests that were cut off may have kept too low; it does not count as met.";

/** The probes of a search for people, and what they say. */
export function sloTable(record: SloSearchRecord): string {
  const { probes, variable } = record;
  const targets = probes[0]?.results.map(({ target }) => target) ?? [];
  const header = [variable === "concurrency" ? "in flight" : "requests/s", "requests", ...targets, "verdict"];
  const rows = probes.map(({ load, stage, results, verdict }) => [
    loadText(load),
    String(stage.numRequests),
    ...results.map(({ target, value, verdict: own }) =>
      value === null ? "–" : `${valueText(target, value)}${own === "undetermined" ? "?" : ""}`,
    ),
    verdict,
  ]);
  const faults = probes.flatMap(({ load, stage }) =>
    stage.client.faults.map((fault) => `${loadText(load)}: shows nothing of the server, as ${fault}.`),
  );
  const marks = rows.some((row) => row.some((cell) => cell.endsWith("?"))) ? [markNote] : [];
  return [formatTable(header, rows), ...sentences(record), ...marks, ...faults].join("\n");
}

function valueText(target: string, value: number): string {
  return target.startsWith("errors") ? `${(100 * value).toFixed(1)} %` : value.toFixed(value < 100 ? 1 : 0);
}

function loadText(load: number): string {
  return String(Number(load.toPrecision(4)));
}

function sentences({
  best,
  missedAt,
  clientLimitAt,
  variable,
  stopped,
  isConfirmed,
  isMonotone,
  slo,
  probes,
}: SloSearchRecord): string[] {
  const unit = variable === "concurrency" ? "in flight" : "requests/s";
  const clients =
    stopped === "client limit"
      ? [
          `The client was the limit${clientLimitAt === null ? "" : `, from ${loadText(clientLimitAt)} ${unit} on`}: of more the search says nothing. Give it --client-threads, or another machine.`,
        ]
      : [];
  if (best === null) {
    if (clients.length > 0) return [`Whether ${slo} holds was not shown.`, ...clients];
    const isMissed = probes.some(({ load, verdict }) => load === missedAt && verdict === "missed");
    if (isMissed) return [`Nothing that was tried meets ${slo} (${stopped}).`];
    const more = variable === "concurrency" ? "--requests-per-seat" : "--min-seconds";
    const lowest = missedAt === null ? "" : `, not even at ${loadText(missedAt)} ${unit}`;
    return [
      `Whether ${slo} holds was not shown${lowest}${stopped === "not shown" ? ", which was tried again" : ` (${stopped})`}. Probes with more requests tell more: raise ${more}.`,
    ];
  }
  const edge =
    missedAt !== null
      ? `missed or not shown at ${loadText(missedAt)}`
      : clientLimitAt === null
        ? "no load above it was tried"
        : "no load above it could be sent";
  return [
    `${slo} holds up to ${loadText(best)} ${unit}; ${edge} (${stopped}${isConfirmed ? ", tried twice" : ""}).`,
    ...clients,
    ...(isMonotone
      ? []
      : [
          "A load above one that missed met the targets: the edge is not sharp; probes with more requests tell more.",
        ]),
  ];
}
