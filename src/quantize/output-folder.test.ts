import { tmpdir } from "node:os";
import { describe, expect, it } from "vitest";
import { checkFreeSpace } from "./output-folder.ts";

describe("checkFreeSpace", () => {
  it("refuses what cannot fit before anything is written", () => {
    expect(() => checkFreeSpace(tmpdir(), Number.MAX_SAFE_INTEGER)).toThrow(
      expect.objectContaining({
        code: "disk_full",
        message: expect.stringMatching(/free; the weights need 8\.00 PiB|need 8192 TiB/) as string,
      }),
    );
    expect(() => checkFreeSpace(tmpdir(), 0)).not.toThrow();
  });
});
