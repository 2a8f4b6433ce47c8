// Preloaded into a server (--import, beside --expose-gc): tells whoever started it, over the channel between the two, what
// its main thread holds and how late its event loop was since the last question.
import { readdirSync } from "node:fs";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { isMainThread } from "node:worker_threads";

/** Time between two looks at the clock; a delay is counted beyond it. */
const resolutionMs = 10;

if (isMainThread && process.channel !== undefined) {
  const delays = monitorEventLoopDelay({ resolution: resolutionMs });
  delays.enable();
  process.on("message", () => {
    const toMs = (nanoseconds) => Math.max(0, nanoseconds / 1e6 - resolutionMs);
    const loopDelayMs = {
      p50: toMs(delays.percentile(50)),
      p99: toMs(delays.percentile(99)),
      max: toMs(delays.max),
    };
    globalThis.gc();
    const { heapUsed, arrayBuffers, rss } = process.memoryUsage();
    const handles = {};
    for (const name of process.getActiveResourcesInfo()) handles[name] = (handles[name] ?? 0) + 1;
    const numFiles = readdirSync("/proc/self/fd").length;
    process.send({ heapBytes: heapUsed + arrayBuffers, rssBytes: rss, handles, numFiles, loopDelayMs });
    delays.reset();
  });
}
