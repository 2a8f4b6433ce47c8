// Preloaded into a server (--import): SIGUSR2 ends the engine's thread, as a fault there would. The signal's value of
// MILLRACE_TEST_FAULT says how: `throw` (an error that nobody catches) or `exit`.
import { createRequire, syncBuiltinESMExports } from "node:module";
import { isMainThread } from "node:worker_threads";

if (isMainThread) {
  const threads = createRequire(import.meta.url)("node:worker_threads");
  const isThrown = process.env.MILLRACE_TEST_FAULT === "throw";
  threads.Worker = class extends threads.Worker {
    constructor(file, options) {
      super(file, options);
      if (!String(file).includes("engine-worker")) return;
      // A command that is no object makes the thread read a field of nothing.
      process.on("SIGUSR2", () => (isThrown ? this.postMessage(null) : void this.terminate()));
    }
  };
  syncBuiltinESMExports();
}
