// 32 requests with one system prompt of 900 tokens arrive together: how much of it is computed, and how soon the
// first tokens come without the prefix cache, with a cold and with a warm one. Needs `npm run build` and
// `npm run build:native`.
//
//   node tests/perf/prefix-cache.mjs MODEL [--requests 32] [--prefix 900] [--rounds 3]
//
// Fails when more tokens are computed than the prefix once and each request's own, or when a token differs.
import { defaultEngineOptions } from "../../dist/engine/engine-options.js";
import { createInProcessClient } from "../../dist/engine/in-process-client.js";
import { loadEngine } from "../../dist/engine/load-engine.js";
import { defaultSampling } from "../../dist/protocol/sampling-params.js";
import { parseFlags } from "./parse-flags.mjs";
import { openTokenizer, proseTokens } from "./prose.mjs";

const { values: flags, positionals } = parseFlags({
  allowPositionals: true,
  options: {
    requests: { type: "string", default: "32" },
    prefix: { type: "string", default: "900" },
    rounds: { type: "string", default: "3" },
  },
});
const [modelPath] = positionals;
if (modelPath === undefined) {
  console.error("usage: prefix-cache.mjs MODEL (--help tells more)");
  process.exit(2);
}
const numRequests = Number(flags.requests);
const prefixLength = Number(flags.prefix);
const drawn = { ...defaultSampling, maxTokens: 16, temperature: 0.8, topP: 0.95, ignoreEos: true };
const ownLength = (index) => 8 + (index % 17);

const prose = proseTokens(openTokenizer(modelPath), prefixLength + numRequests * 30);
const system = prose.slice(0, prefixLength);
/** Each continues the system prompt with prose of its own; `turn` shifts it, so that a warm cache knows the prefix only. */
const promptOf = (index, turn) => {
  const start = prefixLength + ((index * 23 + turn * 11) % (numRequests * 25));
  return [...system, ...prose.slice(start, start + ownLength(index))];
};

async function answer(client, index, turn, sentMs) {
  const sampling = { ...drawn, seed: BigInt(index) };
  const request = { requestId: `${turn}.${index}`, promptTokenIds: promptOf(index, turn), sampling };
  const tokenIds = [];
  let firstMs = null;
  for await (const output of client.generate(request)) {
    firstMs ??= performance.now() - sentMs;
    tokenIds.push(...output.newTokenIds);
  }
  return { tokenIds, firstMs };
}

async function arriveTogether(client, turn) {
  const before = await client.stats();
  const sentMs = performance.now();
  const answers = await Promise.all(
    Array.from({ length: numRequests }, (_, index) => answer(client, index, turn, sentMs)),
  );
  const after = await client.stats();
  const asked = after.prefixCacheQueries - before.prefixCacheQueries;
  const hit = after.prefixCacheHits - before.prefixCacheHits;
  const times = answers.map(({ firstMs }) => firstMs).sort((a, b) => a - b);
  const prompts = Array.from({ length: numRequests }, (_, index) => promptOf(index, turn).length);
  const numPromptTokens = prompts.reduce((sum, length) => sum + length, 0);
  return { texts: answers.map(({ tokenIds }) => tokenIds.join(" ")), asked, hit, times, numPromptTokens };
}

async function measure(enablePrefixCaching) {
  const client = createInProcessClient(
    await loadEngine({
      ...defaultEngineOptions(modelPath),
      maxModelLen: prefixLength + 64,
      maxNumSeqs: numRequests,
      seed: 1,
      enablePrefixCaching,
    }),
  );
  try {
    return [await arriveTogether(client, 0), await arriveTogether(client, 1)];
  } finally {
    await client.close();
  }
}

const median = (sorted) => sorted[sorted.length >> 1];
const faults = [];
const rows = { off: [], cold: [], warm: [] };
for (let round = 0; round < Number(flags.rounds); round += 1) {
  // Who goes first alternates, so that a machine that becomes slower favours neither.
  const order = round % 2 === 0 ? [false, true] : [true, false];
  const results = {};
  for (const isCaching of order) results[isCaching] = await measure(isCaching);
  const [offFirst, offSecond] = results.false;
  const [cold, warm] = results.true;
  rows.off.push(offFirst, offSecond);
  rows.cold.push(cold);
  rows.warm.push(warm);
  for (const [name, plain, cached] of [
    ["cold", offFirst, cold],
    ["warm", offSecond, warm],
  ]) {
    const differing = plain.texts.filter((text, index) => text !== cached.texts[index]).length;
    if (differing > 0) faults.push(`${name}: ${differing} answers differ from those without the cache`);
    const own = cached.numPromptTokens - numRequests * prefixLength;
    const most = own + (name === "cold" ? prefixLength : 0);
    const computed = cached.asked - cached.hit;
    if (cached.asked !== cached.numPromptTokens) faults.push(`${name}: ${cached.asked} tokens looked up`);
    if (computed > most) faults.push(`${name}: ${computed} prompt tokens computed, at most ${most} wanted`);
  }
}

console.log("cache  prompt tokens  computed   TTFT median ms (of each round)   slowest");
for (const [name, runs] of Object.entries(rows)) {
  const { numPromptTokens, hit } = runs[0];
  const medians = runs.map(({ times }) => median(times).toFixed(0)).join(", ");
  const slowest = Math.max(...runs.map(({ times }) => times.at(-1))).toFixed(0);
  console.log(
    `${name.padEnd(6)} ${String(numPromptTokens).padStart(13)} ${String(numPromptTokens - hit).padStart(9)}   ${medians.padEnd(32)} ${slowest}`,
  );
}
for (const fault of faults) console.log(fault);
console.log(faults.length === 0 ? "answers are identical; nothing was computed twice" : "FAILED");
process.exit(faults.length === 0 ? 0 : 1);
