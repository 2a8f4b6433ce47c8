// Loads one server with `millrace bench`, `vllm bench serve` and GuideLLM by turns, each with as many requests in flight
// and the same lengths, and prints what each says of TTFT, time per token, end-to-end time and throughput. Ends with exit
// code 1 where another tool's middle figure is further from ours than ours is from itself.
//
//   node tests/perf/load-clients.mjs [--model models/pebble/model] [--concurrency 4] [--requests 48] [--input 64]
//     [--output 32] [--rounds 4] [--server-threads 1] [--vllm PATH/TO/vllm] [--guidellm PATH/TO/guidellm]
//
// A client that takes a core which the server computes on slows what it measures: on a small machine leave it one.
// Ours runs before and after each run of another tool, and a run is compared with the mean of its two neighbours, because
// a shared machine gets faster and slower within minutes. The noise is how far a run of ours is from its neighbours at
// most. The names are ours: time per token is vLLM's TPOT and GuideLLM's ITL.
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { startServer } from "../server-process.mjs";
import { parseFlags } from "./parse-flags.mjs";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const main = path.join(root, "dist/cli/main.js");
const { values } = parseFlags({
  options: {
    model: { type: "string", default: path.join(root, "models/pebble/model") },
    concurrency: { type: "string", default: "4" },
    requests: { type: "string", default: "48" },
    input: { type: "string", default: "64" },
    output: { type: "string", default: "32" },
    rounds: { type: "string", default: "4" },
    "server-threads": { type: "string" },
    vllm: { type: "string" },
    guidellm: { type: "string" },
  },
});
const { concurrency, requests, input, output } = values;
const folder = mkdtempSync(path.join(os.tmpdir(), "millrace-clients-"));
const run = (program, args) => promisify(execFile)(program, args, { maxBuffer: 2 ** 26 });
const readJson = (name) => JSON.parse(readFileSync(path.join(folder, name), "utf8"));

async function ours({ url }) {
  const load = ["--concurrency", concurrency, "--min-seconds", "0", "--requests-per-seat"];
  load.push(
    `${Math.ceil(requests / concurrency)}`,
    "--input-tokens",
    input,
    "--output-tokens",
    output,
    "--json",
  );
  const { stdout } = await run(process.execPath, [main, "bench", url, ...load]);
  const { stages } = JSON.parse(stdout);
  const { ttftMs, tpotMs, e2eMs, outputTokensPerSecond } = stages[0];
  return { ttft: ttftMs.mean, tpot: tpotMs.mean, e2e: e2eMs.mean, throughput: outputTokensPerSecond };
}

async function vllm({ url, id }) {
  const args = ["bench", "serve", "--backend", "openai", "--base-url", url, "--model", id];
  args.push("--tokenizer", values.model, "--dataset-name", "random", "--random-input-len", input);
  args.push("--random-output-len", output, "--num-prompts", requests, "--max-concurrency", concurrency);
  args.push("--ignore-eos", "--temperature", "0", "--num-warmups", "2", "--disable-tqdm");
  args.push("--percentile-metrics", "ttft,tpot,itl,e2el", "--save-result");
  await run(values.vllm, [...args, "--result-dir", folder, "--result-filename", "vllm.json"]);
  const result = readJson("vllm.json");
  return {
    ttft: result.mean_ttft_ms,
    tpot: result.mean_tpot_ms,
    e2e: result.mean_e2el_ms,
    throughput: result.output_throughput,
  };
}

async function guidellm({ url, id }) {
  const args = [
    "run",
    "--backend",
    `kind=openai_http,target=${url},model=${id},request_format=/v1/completions`,
  ];
  args.push("--profile", `kind=concurrent,streams=${concurrency}`, "--constraint");
  args.push(`kind=max_requests,count=${requests}`, "--tokenizer", `kind=hf_auto,model=${values.model}`);
  args.push("--data", `kind=synthetic_text,prompt_tokens=${input},output_tokens=${output}`);
  args.push("--output", `kind=json,path=${path.join(folder, "guidellm.json")}`, "--disable-console");
  await run(values.guidellm, args);
  const { metrics } = readJson("guidellm.json").benchmarks[0];
  const mean = (name) => metrics[name].successful.mean;
  return {
    ttft: mean("time_to_first_token_ms"),
    tpot: mean("inter_token_latency_ms"),
    e2e: 1000 * mean("request_latency"),
    throughput: mean("output_tokens_per_second"),
  };
}

const others = Object.entries({ vllm, guidellm }).filter(([name]) => values[name] !== undefined);
const figures = ["ttft", "tpot", "e2e", "throughput"];
const own = [];
const theirs = Object.fromEntries(others.map(([name]) => [name, []]));
const server = await startServer((port) => [
  process.execPath,
  main,
  "serve",
  values.model,
  "--port",
  `${port}`,
  "--enable-prefix-caching",
  "off",
  ...(values["server-threads"] === undefined ? [] : ["--threads", values["server-threads"]]),
]);
try {
  const { data } = await fetch(`${server.url}/v1/models`).then((response) => response.json());
  const target = { url: server.url, id: data[0].id };
  own.push(await ours(target));
  for (let round = 0; round < Number(values.rounds); round += 1) {
    for (const [name, measure] of others) {
      const result = await measure(target);
      own.push(await ours(target));
      theirs[name].push({ result, before: own.at(-2), after: own.at(-1) });
    }
  }
} finally {
  await server.stop();
  rmSync(folder, { recursive: true });
}

const middle = (numbers) => {
  const sorted = numbers.toSorted((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
};
const besideNeighbours = (figure, { result, before, after }) =>
  (2 * result[figure]) / (before[figure] + after[figure]) - 1;
const percent = (part) => (100 * part).toFixed(1);
const ownTriples = own.slice(1, -1).map((result, i) => ({ result, before: own[i], after: own[i + 2] }));

let isFar = false;
console.log(["", "millrace", "noise", ...others.map(([name]) => name)].join(" | "));
for (const figure of figures) {
  const noise = Math.max(...ownTriples.map((triple) => Math.abs(besideNeighbours(figure, triple))));
  const cells = others.map(([name]) => {
    const parts = theirs[name].map((triple) => besideNeighbours(figure, triple));
    const isWithin = Math.abs(middle(parts)) <= noise;
    isFar ||= !isWithin;
    const value = middle(theirs[name].map(({ result }) => result[figure])).toFixed(2);
    const spread = `${percent(Math.min(...parts))} to ${percent(Math.max(...parts))}`;
    return `${value} (${percent(middle(parts))} %, ${spread}${isWithin ? "" : ", beyond the noise"})`;
  });
  const centre = middle(own.map((result) => result[figure])).toFixed(2);
  console.log([figure, centre, `±${percent(noise)} %`, ...cells].join(" | "));
}
process.exitCode = isFar ? 1 : 0;
