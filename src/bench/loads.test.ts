import { expect, test } from "vitest";
import { madeUpStage } from "../../tests/made-up-stage.ts";
import { sweepRates } from "./loads.ts";

const profile = { size: 4, seconds: 2, maxConcurrency: 64, burstiness: 1 };

test("a sweep goes up evenly to the most that the server did", () => {
  const most = { ...madeUpStage(64, 100), requestsPerSecond: 20 };
  const rates = sweepRates([madeUpStage(1, 100), most], profile);
  expect(rates).toMatchObject([
    { arrivals: { requestRate: 14 }, numRequests: 28 },
    { arrivals: { requestRate: 20 }, numRequests: 40 },
  ]);
});

test("a sweep in whose time nothing ended says so", () => {
  const nothing = { ...madeUpStage(64, 0), requestsPerSecond: 0 };
  expect(() => sweepRates([madeUpStage(1, 100), nothing], profile)).toThrow(
    /64 requests in flight none ended in 2 s.*--max-seconds/,
  );
});

test("a sweep goes nowhere where many in flight did no more than one", () => {
  const most = { ...madeUpStage(64, 100), requestsPerSecond: 7 };
  expect(sweepRates([madeUpStage(1, 100), most], profile)).toEqual([]);
});
