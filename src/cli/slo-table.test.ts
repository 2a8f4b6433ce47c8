import { expect, test } from "vitest";
import { madeUpStage } from "../../tests/made-up-stage.ts";
import type { Origin } from "../records/origin.ts";
import type { SloSearchRecord } from "../records/slo-search.ts";
import { sloTable } from "./slo-table.ts";

const record: SloSearchRecord = {
  kind: "slo-search",
  origin: {} as Origin,
  url: "http://127.0.0.1:8000",
  model: "m",
  slo: "ttft_p50<=1s",
  variable: "concurrency",
  best: null,
  missedAt: null,
  clientLimitAt: 1,
  stopped: "client limit",
  isConfirmed: false,
  isMonotone: true,
  probes: [],
};

test("a search that the client ended says nothing of the server", () => {
  const text = sloTable(record);
  expect(text).toContain("Whether ttft_p50<=1s holds was not shown.");
  expect(text).toContain("The client was the limit, from 1 in flight on");
  expect(text).not.toContain("meets");
  const some = sloTable({ ...record, best: 8, clientLimitAt: 9, isConfirmed: true });
  expect(some).toContain(
    "holds up to 8 in flight; no load above it could be sent (client limit, tried twice).",
  );
  expect(some).toContain("The client was the limit, from 9 in flight on");
});

test("one that the server ended names the load that missed", () => {
  const text = sloTable({ ...record, best: 8, missedAt: 9, clientLimitAt: null, stopped: "converged" });
  expect(text).toContain("holds up to 8 in flight; missed or not shown at 9 (converged).");
  expect(text).not.toContain("client");
});

test("one that shows nothing at its lowest load does not say that the targets are missed, and explains the mark", () => {
  const verdict = "undetermined" as const;
  const results = [{ target: "ttft_p50<=1s", value: 39.1, limit: 1000, verdict }];
  const stage = { ...madeUpStage(1, 100), numRequests: 36 };
  const probe = { load: 1, results, verdict, stage };
  const open = { ...record, clientLimitAt: null, missedAt: 1, stopped: "not shown" as const };
  const text = sloTable({ ...open, probes: [probe, probe] });
  expect(text).toContain("39.1?");
  expect(text).toContain(
    "Whether ttft_p50<=1s holds was not shown, not even at 1 in flight, which was tried again.",
  );
  expect(text).toContain("raise --requests-per-seat.");
  expect(text).toContain("\n? marks a figure whose interval holds the limit");
  expect(text).not.toContain("Nothing that was tried");
  const missed = { ...probe, results: [{ ...results[0]!, verdict: "missed" as const }] };
  const none = sloTable({
    ...open,
    stopped: "nothing meets it",
    probes: [{ ...missed, verdict: "missed" }],
  });
  expect(none).toContain("Nothing that was tried meets ttft_p50<=1s (nothing meets it).");
  expect(none).not.toContain("? marks");
});
