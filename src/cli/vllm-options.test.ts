import { Command } from "commander";
import { describe, expect, test } from "vitest";
import { flagName } from "../config/component.ts";
import { sharedVllmFlags, vllmFlags } from "../config/vllm-flags.ts";
import { addServeSettings, type ServeSettings, serveComponents } from "./serve-settings.ts";

/** What `serve` reads of a command line. */
function read(...flags: string[]): Promise<ServeSettings> {
  const command = new Command().exitOverride();
  const reader = addServeSettings(command);
  command.parse(flags, { from: "user" });
  return reader.read();
}

const ours = new Set(
  serveComponents.flatMap((component) => Object.values(component).map(({ flag }) => flagName(flag))),
);

describe("flags of vllm serve", () => {
  test("are ours, or are met by name, and never both", () => {
    for (const name of sharedVllmFlags) expect(name === "--config" || ours.has(name), name).toBe(true);
    const others = vllmFlags.map(({ flag }) => flagName(flag));
    expect(others.filter((name) => ours.has(name))).toEqual([]);
    expect(new Set(others).size).toBe(others.length);
    expect(others.filter((name) => sharedVllmFlags.includes(name))).toEqual([]);
  });

  test("that change nothing are taken with a note", async () => {
    const { notes } = await read("--trust-remote-code", "--enable-chunked-prefill");
    expect(notes).toEqual([
      "--trust-remote-code changes nothing: no code of a model is ever run.",
      "--enable-chunked-prefill changes nothing: it is always so.",
    ]);
  });

  test("that mean one of ours set it", async () => {
    expect((await read("--no-enable-prefix-caching")).engine.enablePrefixCaching).toBe("off");
    expect((await read("--enable-prefix-caching")).engine.enablePrefixCaching).toBe("on");
    expect((await read("--enable-prefix-caching", "off")).engine.enablePrefixCaching).toBe("off");
  });

  test("are refused with what to use, but for values that are so anyway", async () => {
    expect(() => read("--tensor-parallel-size", "2")).toThrow(
      "--tensor-parallel-size 2 is a flag of vLLM's that this server does not have. In its place: this engine runs in one",
    );
    expect(() => read("--gpu-memory-utilization", "0.9")).toThrow("In its place: use --memory-utilization");
    expect(() => read("--headless")).toThrow("--headless is a flag of vLLM's");
    expect((await read("--tensor-parallel-size", "1", "--load-format=auto")).notes).toEqual([]);
  });

  test.each(vllmFlags.filter((met) => "instead" in met).map(({ flag }) => flag))("%s is refused", (flag) => {
    const value = flag.includes("<") ? ["x"] : [];
    expect(() => read(flagName(flag), ...value)).toThrow(
      "is a flag of vLLM's that this server does not have",
    );
  });
});

test("names and keys may be repeated", async () => {
  const { server, access } = await read(
    "--served-model-name",
    "a",
    "--served-model-name",
    "b",
    "--api-key",
    "k",
  );
  expect([server.servedModelName, access.apiKey]).toEqual([["a", "b"], ["k"]]);
});
