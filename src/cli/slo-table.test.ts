import { expect, test } from "vitest";
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
