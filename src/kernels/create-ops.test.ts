import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { createOps, nativeStatus } from "./create-ops.ts";

const status = nativeStatus();

test("makes the reference backend when asked, and says that it is slow", () => {
  const { ops, notes } = createOps({ backend: "reference", numThreads: 0 });
  expect(ops.backend).toBe("reference");
  expect(notes.join()).toMatch(/slow/);
  ops.close();
});

describe.runIf(status.available)("with native kernels", () => {
  test("takes the fastest instruction set and says so", () => {
    const { ops, notes } = createOps({ backend: "auto", numThreads: 1 });
    expect([ops.backend, ops.isa, ops.numThreads]).toEqual(["native", status.isas[0], 1]);
    expect(notes.join()).toContain(`native, ${status.isas[0]}, 1 thread`);
    ops.close();
  });

  test("obeys a forced instruction set and refuses one that is not there", () => {
    for (const isa of status.isas) {
      const { ops } = createOps({ backend: "native", numThreads: 1, isa });
      expect(ops.isa).toBe(isa);
      ops.close();
    }
    expect(() => createOps({ backend: "native", numThreads: 1, isa: "mmx" })).toThrow(
      expect.objectContaining({ code: "isa_unavailable" }),
    );
  });

  test("a closed backend refuses work instead of touching freed memory", () => {
    const { ops } = createOps({ backend: "native", numThreads: 2 });
    const values = { kind: "dense", rows: 1, cols: 32, dtype: "f32", data: new Uint8Array(128) } as const;
    const table = ops.packLinear([values], { name: "table", inputForm: "f32" });
    ops.close();
    ops.close();
    expect(() => ops.embed(table)).toThrow(/closed/);
  });
});

describe.skipIf(status.available)("without native kernels", () => {
  test("falls back loudly, and refuses when native was asked for", () => {
    const { ops, notes } = createOps({ backend: "auto", numThreads: 0 });
    expect(ops.backend).toBe("reference");
    expect(notes.join()).toMatch(/WARNING/);
    ops.close();
    expect(() => createOps({ backend: "native", numThreads: 0 })).toThrow(
      expect.objectContaining({ code: "native_unavailable" }),
    );
  });
});

test.runIf(status.available)(
  "kernel threads use no processor time between steps, also inside a step that waits",
  () => {
    const addon = fileURLToPath(new URL("../../build/native/millrace.node", import.meta.url));
    // In a process of its own, because threads of the test runner count too.
    const script = `
    const addon = require(${JSON.stringify(addon)});
    const context = addon.createContext(addon.listIsas().at(-1), 4, false);
    const none = new Int32Array(1);
    addon.beginStep(context, 0, 0, none, none, none, none, none, none, 0);
    const sleep = (ms) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
    sleep(100);
    const before = process.cpuUsage();
    sleep(1000);
    const { user, system } = process.cpuUsage(before);
    console.log(user + system);
  `;
    const child = spawnSync(process.execPath, ["-e", script], { encoding: "utf8" });
    expect(child.stderr).toBe("");
    // Microseconds of processor time in one second of waiting: one percent of a core.
    expect(Number(child.stdout)).toBeLessThan(10_000);
  },
);
