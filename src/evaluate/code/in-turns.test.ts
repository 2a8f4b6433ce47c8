import { setImmediate } from "node:timers/promises";
import { expect, it } from "vitest";
import { inTurns } from "./in-turns.ts";

it("runs as many programs at once as it is told, in order, and goes on after a failure", async () => {
  const begun: string[] = [];
  let numRunning = 0;
  let mostRunning = 0;
  const runner = inTurns(
    {
      run: async (program) => {
        begun.push(program);
        numRunning += 1;
        mostRunning = Math.max(mostRunning, numRunning);
        await setImmediate();
        numRunning -= 1;
        if (program === "b") throw new Error("no sandbox");
        return { hasPassed: true, detail: program };
      },
    },
    2,
  );
  const outcomes = await Promise.allSettled(
    ["a", "b", "c", "d", "e", "f", "g"].map((program) => runner.run(program)),
  );
  const failed = outcomes.flatMap(({ status }, index) => (status === "rejected" ? [index] : []));
  expect(failed).toEqual([1]);
  expect(begun.join("")).toBe("abcdefg");
  expect(mostRunning).toBe(2);
  await runner.run("h");
  expect(begun.at(-1)).toBe("h");
});
