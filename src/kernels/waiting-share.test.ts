import { expect, test } from "vitest";
import type { SystemFiles } from "./system-files.ts";
import { watchWaiting } from "./waiting-share.ts";

function filesOf(...texts: (string | undefined)[]): SystemFiles {
  let index = 0;
  return { read: () => texts[index++] };
}

test("tells the share of its time that a thread waited for a processor", () => {
  expect(watchWaiting(filesOf("1000 500 3\n", "4000 1500 9\n"))()).toBe(0.25);
  expect(watchWaiting(filesOf("1000 500 3\n", "1000 500 3\n"))()).toBe(0);
  expect(watchWaiting(filesOf(undefined, undefined))()).toBeNull();
});
