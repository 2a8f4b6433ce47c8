import { expect, test } from "vitest";
import { pause } from "./pause.ts";

test("a wait that the signal ends rejects with the signal's reason", async () => {
  const reason = new Error("stopped by a person");
  const controller = new AbortController();
  const waiting = pause(60_000, controller.signal);
  controller.abort(reason);
  await expect(waiting).rejects.toBe(reason);
  await expect(pause(1, controller.signal)).rejects.toBe(reason);
  await expect(pause(1, undefined)).resolves.toBeUndefined();
});
