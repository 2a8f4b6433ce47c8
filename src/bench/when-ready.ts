import { isMillraceError } from "../base/errors.ts";
import { firstModelOf, type ListedModel } from "../client/served-models.ts";
import type { BenchOptions } from "./bench-options.ts";
import { pause } from "./pause.ts";

/** Time between two looks at a server that is not ready. */
const readyPollMs = 250;

/** Waits until the server lists its models, where it may take a while; gives the first, null where nobody waits. */
export async function whenReady(options: BenchOptions): Promise<ListedModel | null> {
  const { endpoint, readyTimeoutMs = 0, progress, signal } = options;
  if (readyTimeoutMs === 0) return null;
  const startMs = performance.now();
  progress.start("waiting for the server", readyTimeoutMs);
  for (;;) {
    try {
      const leftMs = readyTimeoutMs - (performance.now() - startMs);
      const listed = await firstModelOf(endpoint, {
        signal,
        timeoutMs: Math.max(1, Math.ceil(leftMs / 1000)) * 1000,
      });
      progress.finish("server ready");
      return listed;
    } catch (error) {
      const waitedMs = performance.now() - startMs;
      // What it said last is why it was not ready.
      if (!isMillraceError(error) || waitedMs >= readyTimeoutMs) throw error;
      progress.update(waitedMs);
      await pause(readyPollMs, signal);
    }
  }
}
