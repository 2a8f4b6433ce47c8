import { expect, test } from "vitest";
import { waitUntilReady } from "./wait-until-ready.ts";

test("a fault of a connection without a code is told with what its cause says", async () => {
  // A port that fetch refuses by itself.
  const endpoint = { url: "http://127.0.0.1:1" };
  const { signal } = new AbortController();
  const rest = { name: "it", timeoutMs: 5000, ended: null, logFile: null, isStarting: false };
  await expect(waitUntilReady({ endpoint, signal, ...rest })).rejects.toThrow(
    "Nobody answers at http://127.0.0.1:1 (bad port). Start the server, or correct the address.",
  );
});
