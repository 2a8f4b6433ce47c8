import { describe, expect, test } from "vitest";
import { madeUpStage } from "../../../tests/made-up-stage.ts";
import { parseSlo } from "../../records/slo.ts";
import type { ProbeVerdict } from "../../records/slo-search.ts";
import { summarise } from "../distribution.ts";
import { checkSearchLimits, type SearchLimits, searchLoad } from "./search.ts";
import { judgeStage, requestsForSlo, sloVerdict } from "./slo.ts";

const limits: SearchLimits = { variable: "concurrency", from: 1, to: 256, tolerance: 0.05, maxProbes: 30 };

/** A server that holds the targets up to a load. */
async function search(holdsTo: number, more: Partial<SearchLimits> = {}) {
  const tried: number[] = [];
  const found = await searchLoad(
    (load) => {
      tried.push(load);
      return Promise.resolve({ verdict: load <= holdsTo ? "met" : "missed" });
    },
    { ...limits, ...more },
  );
  return { ...found, tried };
}

describe("search", () => {
  test.each([1, 2, 7, 17, 100])("finds the edge at %i in flight, and tries it again", async (edge) => {
    const found = await search(edge, { tolerance: 0 });
    expect(found).toMatchObject({ best: edge, missedAt: edge + 1, stopped: "converged", isConfirmed: true });
    expect(found.tried.at(-1)).toBe(edge);
    expect(found.isMonotone).toBe(true);
  });

  test("a rate to within the tolerance, also below the first", async () => {
    for (const edge of [0.3, 2.3, 40]) {
      const { best, missedAt } = await search(edge, { variable: "rate", from: 1 });
      expect(best!).toBeLessThanOrEqual(edge);
      expect(missedAt!).toBeGreaterThan(edge);
      expect(missedAt! - best!).toBeLessThanOrEqual(0.05 * best!);
    }
  });

  test("says when nothing meets the targets, when all does, and when probes run out", async () => {
    expect(await search(0)).toMatchObject({ best: null, stopped: "nothing meets it" });
    expect(await search(1000)).toMatchObject({ best: 256, missedAt: null, stopped: "highest load" });
    expect(await search(100, { maxProbes: 4 })).toMatchObject({ best: 8, stopped: "most probes" });
  });

  test("a load that misses when it is tried again is no best, and the answer is not monotone", async () => {
    let count = 0;
    const found = await searchLoad(
      (load) => {
        // 12 is met once, by luck.
        if (load === 12) count += 1;
        return Promise.resolve({ verdict: load <= 10 || (load === 12 && count === 1) ? "met" : "missed" });
      },
      { ...limits, tolerance: 0 },
    );
    expect(found).toMatchObject({ best: 10, isConfirmed: true });
  });
});

describe("a lowest load that is undetermined", () => {
  /** A server of which probes say these things in turn, and that it misses the targets at every load above the first. */
  async function searchSaying(...verdicts: readonly ProbeVerdict[]) {
    const left = [...verdicts];
    const tried: number[] = [];
    const found = await searchLoad(
      (load) => {
        tried.push(load);
        return Promise.resolve({ verdict: load > 1 ? "missed" : left.shift()! });
      },
      { ...limits, tolerance: 0 },
    );
    return { ...found, tried };
  }

  test("is tried once more, and found where that shows it", async () => {
    const found = await searchSaying("undetermined", "met", "met");
    expect(found).toMatchObject({ best: 1, missedAt: 2, stopped: "converged", isMonotone: true });
    expect(found.tried).toEqual([1, 1, 2, 1]);
  });

  test("is said not to be shown where that shows nothing, and to miss the targets where it does", async () => {
    const open = await searchSaying("undetermined", "undetermined");
    expect(open).toMatchObject({ best: null, missedAt: 1, stopped: "not shown", tried: [1, 1] });
    const missed = await searchSaying("undetermined", "missed");
    expect(missed).toMatchObject({ best: null, stopped: "nothing meets it", tried: [1, 1] });
    const again = await searchSaying("undetermined", "met", "undetermined");
    expect(again).toMatchObject({ best: null, stopped: "not shown", tried: [1, 1, 2, 1] });
    expect(await searchSaying("undetermined", "client limit")).toMatchObject({ stopped: "client limit" });
  });
});

describe("the ends of a search", () => {
  test.each([
    [{ from: 0.4 }, /--search-from is 0.4; requests in flight are a whole number of at least 1/],
    [{ from: 1.5 }, /--search-from is 1.5/],
    [{ to: 2.5 }, /--search-to is 2.5/],
    [{ from: 2, to: 1 }, /--search-from 2 is above --search-to 1/],
    [{ variable: "rate" as const, from: 0.4, to: 0.3 }, /--search-from 0.4 is above --search-to 0.3/],
  ])("%o is refused", (more, message) => {
    expect(() => checkSearchLimits({ ...limits, ...more })).toThrow(message);
  });

  test("of a rate may be fractions; one load alone may be both", () => {
    checkSearchLimits({ ...limits, variable: "rate", from: 0.4, to: 2.5 });
    checkSearchLimits({ ...limits, from: 4, to: 4 });
  });
});

describe("a client that does not keep up", () => {
  /** A server that holds the targets up to a load, behind a client that sends no more than another. */
  async function searchBehind(holdsTo: number, sendsTo: number, more: Partial<SearchLimits> = {}) {
    return searchLoad(
      (load) => {
        if (load > sendsTo) return Promise.resolve({ verdict: "client limit" });
        return Promise.resolve({ verdict: load <= holdsTo ? "met" : "missed" });
      },
      { ...limits, tolerance: 0, ...more },
    );
  }

  test("is the limit itself, and no load is called missed for it", async () => {
    expect(await searchBehind(1000, 20)).toMatchObject({
      best: 20,
      missedAt: null,
      clientLimitAt: 21,
      stopped: "client limit",
      isConfirmed: true,
    });
    expect(await searchBehind(1000, 0)).toMatchObject({
      best: null,
      missedAt: null,
      clientLimitAt: 1,
      stopped: "client limit",
    });
  });

  test("is not named where the server's edge lies below", async () => {
    const found = await searchBehind(9, 12);
    expect(found).toMatchObject({ best: 9, missedAt: 10, stopped: "converged", isConfirmed: true });
    expect(await searchBehind(0, 12)).toMatchObject({ best: null, missedAt: 1, stopped: "nothing meets it" });
  });

  test("takes nothing back that was shown before", async () => {
    let count = 0;
    const found = await searchLoad(
      (load) => {
        count += load === 8 ? 1 : 0;
        if (load === 8 && count === 2) return Promise.resolve({ verdict: "client limit" });
        return Promise.resolve({ verdict: load <= 8 ? "met" : "missed" });
      },
      { ...limits, tolerance: 0 },
    );
    expect(found).toMatchObject({ best: 8, missedAt: 9, stopped: "client limit", isConfirmed: false });
  });
});

describe("targets", () => {
  test("need the requests of their strictest percentile", () => {
    expect(requestsForSlo(parseSlo("ttft_p90<=500ms,e2e_p99<=10s"))).toBe(368);
    expect(requestsForSlo(parseSlo("ttft_p90<=500ms"))).toBe(36);
    expect(requestsForSlo(parseSlo("ttft_mean<=500ms"))).toBe(8);
  });

  test("gaps between tokens count no more than the requests that they are of", () => {
    // 400 gaps of 16 requests: the interval 8 to 11 of the gaps is five times as wide, 4 to 19; the mean's is 10 ± 0.98.
    const stage = madeUpStage(4, 100);
    const itlMs = { ...stage.itlMs!, count: 400, weak: [] };
    const verdict = (slo: string) =>
      sloVerdict(judgeStage({ ...stage, numRequests: 16, itlMs }, parseSlo(slo)));
    expect(verdict("itl_p50<=18ms")).toBe("undetermined");
    expect(verdict("itl_p50<=20ms")).toBe("met");
    expect(verdict("itl_p50<=3ms")).toBe("missed");
    expect(verdict("itl_mean<=10.9ms")).toBe("undetermined");
    expect(verdict("itl_mean<=11ms")).toBe("met");
    // 400 gaps would do for a p99; 16 requests do not.
    expect(verdict("itl_p99<=1s")).toBe("undetermined");
  });

  test("a percentile of enough samples for one bound is met by the greatest, not by its own value", () => {
    const ttftMs = summarise(Array.from({ length: 29 }, (_, index) => index + 1))!;
    expect(ttftMs.intervals.p90).toBeNull();
    const verdict = (slo: string) =>
      sloVerdict(judgeStage({ ...madeUpStage(4, 100), ttftMs }, parseSlo(slo)));
    expect(ttftMs.p90).toBeLessThan(28);
    expect(verdict("ttft_p90<=28ms")).toBe("undetermined");
    expect(verdict("ttft_p90<=29ms")).toBe("met");
    expect(verdict("ttft_p90<=12ms")).toBe("undetermined");
    expect(verdict("ttft_p90<=8ms")).toBe("missed");
  });

  test("requests that were cut off count as slower than any that ended, so that they can only spoil a bound", () => {
    const ttftMs = summarise(Array.from({ length: 100 }, (_, index) => index + 1))!;
    const verdict = (slo: string, numCensored: number) => {
      const stage = { ...madeUpStage(4, 100), ttftMs, numCensored, numRequests: 100 + numCensored };
      return sloVerdict(judgeStage(stage, parseSlo(slo)));
    };
    // Of 103 the percentile 90 lies at 92.7 of the 100 that ended: below the interval of their percentile 95.
    expect(verdict("ttft_p90<=97ms", 0)).toBe("met");
    expect(verdict("ttft_p90<=97ms", 3)).toBe("undetermined");
    expect(verdict("ttft_p90<=100ms", 3)).toBe("met");
    expect(verdict("ttft_p90<=10ms", 3)).toBe("missed");
    expect(verdict("ttft_p50<=70ms", 0)).toBe("met");
    expect(verdict("ttft_p50<=70ms", 3)).toBe("undetermined");
    // Nothing bounds the percentile 90 where more than a tenth is not known, nor a mean with any that is not.
    expect(verdict("ttft_p90<=10s", 16)).toBe("undetermined");
    expect(verdict("ttft_mean<=10s", 0)).toBe("met");
    expect(verdict("ttft_mean<=10s", 1)).toBe("undetermined");
  });

  test("a percentile with too few samples decides nothing; an interval that holds the limit neither", () => {
    // p50 9 within 8 to 11; p90, p95 and p99 are weak.
    const stage = madeUpStage(4, 100);
    const verdict = (slo: string) => sloVerdict(judgeStage(stage, parseSlo(slo)));
    expect(verdict("ttft_p50<=11ms")).toBe("met");
    expect(verdict("ttft_p50<=10ms")).toBe("undetermined");
    expect(verdict("ttft_p50<=7ms")).toBe("missed");
    expect(verdict("ttft_p99<=1s")).toBe("undetermined");
    expect(verdict("ttft_p50<=11ms,ttft_p99<=1s")).toBe("undetermined");
    expect(verdict("ttft_p50<=7ms,ttft_p99<=1s")).toBe("missed");
    const failing = { ...stage, numErrors: 1 };
    expect(sloVerdict(judgeStage(failing, parseSlo("ttft_p50<=11ms")))).toBe("missed");
  });
});
