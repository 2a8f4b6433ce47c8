import { expect, test } from "vitest";
import { benchCommand } from "./commands/bench.ts";

/** Refusals come before anything is asked of a server. */
const refusal = (...flags: readonly string[]): Promise<unknown> =>
  benchCommand().parseAsync(["http://127.0.0.1:9", ...flags], { from: "user" });

test.each([
  ["--search", ["--search", "rate"]],
  ["--burstiness", ["--burstiness", "3"]],
  ["--rounds", ["--rounds", "4"]],
  ["--versus-model", ["--versus-model", "x"]],
  ["--sweep-size", ["--sweep-size", "4"]],
  ["--request-rate", ["--slo", "ttft_p50<=1s", "--request-rate", "5"]],
  ["--versus", ["--slo", "ttft_p50<=1s", "--versus", "http://127.0.0.1:9"]],
  ["--console", ["--versus", "http://127.0.0.1:9", "--concurrency", "1", "--console", "vllm"]],
  ["--input-tokens", ["--data", "prompt_tokens=8,output_tokens=8", "--input-tokens", "999"]],
  ["--concurrency", ["--profile", "sweep", "--concurrency", "4"]],
  ["--ramp-up-end-rps", ["--ramp-up-end-rps", "4"]],
])("%s is refused where it has no effect", async (flag, flags) => {
  await expect(refusal(...flags)).rejects.toMatchObject({ code: "invalid_option", param: flag });
  await expect(refusal(...flags)).rejects.toThrow(`${flag} has no effect: `);
});

test("a load is given once", async () => {
  await expect(refusal("--request-rate", "inf,inf")).rejects.toThrow("--request-rate names inf twice");
});

test("a search whose ends are no load is refused before anything is asked", async () => {
  const search = ["--slo", "ttft_p50<=1s", "--search-from", "0.4"];
  await expect(refusal(...search)).rejects.toMatchObject({ code: "invalid_option", param: "--search-from" });
});

test("a sweep up to one request in flight is refused", async () => {
  const sweep = ["--profile", "sweep", "--max-concurrency", "1"];
  await expect(refusal(...sweep)).rejects.toMatchObject({
    code: "invalid_option",
    param: "--max-concurrency",
  });
});

test("flags that have an effect go through to the server, which is not there", async () => {
  for (const flags of [
    ["--slo", "ttft_p50<=1s", "--search", "rate", "--burstiness", "3"],
    ["--profile", "sweep", "--sweep-size", "4", "--max-concurrency", "8"],
    ["--request-rate", "5,inf", "--num-requests", "4", "--concurrency", "1"],
  ])
    await expect(refusal(...flags)).rejects.toMatchObject({ code: "endpoint_unreachable" });
});
