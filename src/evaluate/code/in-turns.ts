import type { CodeRunner } from "./code-runner.ts";

/** Runs at most `most` programs at once, in the order in which they come: each has its time, and more would share it. */
export function inTurns(runner: CodeRunner, most: number): CodeRunner {
  let numRunning = 0;
  const waiting: (() => void)[] = [];
  return {
    run: async (program) => {
      if (numRunning < most) numRunning += 1;
      else await new Promise<void>((resolve) => waiting.push(resolve));
      try {
        return await runner.run(program);
      } finally {
        // Who waits takes this one's place.
        const next = waiting.shift();
        if (next === undefined) numRunning -= 1;
        else next();
      }
    },
  };
}
