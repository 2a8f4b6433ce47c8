import { afterEach, expect, test, vi } from "vitest";
import { listenForInterrupt } from "./interrupt.ts";

afterEach(() => vi.restoreAllMocks());

test("a signal that comes twice at once is one, and a later one ends the process", () => {
  let nowMs = 1000;
  vi.spyOn(performance, "now").mockImplementation(() => nowMs);
  vi.spyOn(process.stderr, "write").mockReturnValue(true);
  const exit = vi.spyOn(process, "exit").mockReturnValue(undefined as never);
  const interrupt = listenForInterrupt("Run it again.");
  try {
    process.emit("SIGTERM");
    expect(interrupt.signal.reason).toMatchObject({ code: "interrupted" });
    nowMs += 100;
    process.emit("SIGTERM");
    expect(exit).not.toHaveBeenCalled();
    nowMs += 1000;
    process.emit("SIGINT");
    expect(exit).toHaveBeenCalledExactlyOnceWith(130);
  } finally {
    interrupt.release();
  }
});
