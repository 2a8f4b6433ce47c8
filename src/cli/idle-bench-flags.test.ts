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
  ["--min-seconds", ["--request-rate", "inf", "--num-requests", "4", "--min-seconds", "9"]],
  ["--min-seconds", ["--request-rate", "inf", "--min-seconds", "9"]],
  ["--min-seconds", ["--request-rate", "2", "--num-requests", "4", "--min-seconds", "9"]],
  ["--min-seconds", ["--profile", "sweep", "--min-seconds", "9"]],
  ["--requests-per-seat", ["--request-rate", "inf", "--requests-per-seat", "9"]],
  ["--requests-per-seat", ["--trace", "t.csv", "--requests-per-seat", "9"]],
  ["--burstiness", ["--request-rate", "inf", "--burstiness", "2"]],
  ["--burstiness", ["--trace", "t.csv", "--burstiness", "2"]],
  ["--vocab", ["--chat", "--vocab", "1000"]],
  ["--vocab", ["--data", "prompts.jsonl", "--vocab", "1000"]],
  ["--vocab", ["--data", "prompt_tokens=8,output_tokens=8,turns=2", "--vocab", "1000"]],
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

test.each([
  [
    /--rounds 8 is above --max-rounds 4/,
    ["--versus", "http://127.0.0.1:9", "--rounds", "8", "--max-rounds", "4"],
  ],
  [
    /--also has servers that A and B would share/,
    ["--versus", "http://127.0.0.1:9", "--also", "http://127.0.0.1:8"],
  ],
  [
    /every header once, in whatever case; x-team is there twice/,
    ["--header", "X-Team: a", "--header", "x-team: b"],
  ],
  [/--header Authorization and --api-key both/, ["--api-key", "k", "--header", "authorization: Bearer j"]],
])("%s", async (message, flags) => {
  await expect(refusal(...flags)).rejects.toMatchObject({
    code: "invalid_option",
    message: expect.stringMatching(message) as string,
  });
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
    ["--request-rate", "5,inf", "--burstiness", "2", "--min-seconds", "2"],
    ["--request-rate", "inf", "--concurrency", "1", "--min-seconds", "2", "--requests-per-seat", "1"],
    ["--versus", "http://127.0.0.1:9", "--concurrency", "1", "--rounds", "30"],
    ["--header", "Authorization: Basic x"],
    ["--data", "prompt_tokens=8,output_tokens=8", "--vocab", "1000"],
  ])
    await expect(refusal(...flags)).rejects.toMatchObject({ code: "endpoint_unreachable" });
});
