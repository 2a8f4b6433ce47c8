// What guessing ahead is worth: plain decoding against guesses from the text (n-gram) or from a draft model, on text
// that repeats itself, on prose and on random tokens, one request at a time and several. Rounds are interleaved. Needs
// `npm run build` and `npm run build:native`, and a quiet machine.
//
//   node tests/perf/speculation.mjs [--model models/pebble/model] [--draft models/pebble/draft | --ngram]
//     [--texts repetitive,prose,random] [--sequences 1,4] [--tokens 128] [--rounds 9] [--guesses 4] [--fixed]
//     [--threads 0] [--cpu]
//
// Prints tokens per second, the ratio of both with its quartiles and its range over the rounds, and the share of right
// guesses by position. --fixed guesses in every step, whether it pays or not. --cpu measures processor time, which other
// programs disturb less; take --threads 1 with it, since waiting threads spin. Fails when an answer differs from the plain
// one, or when guessing is more than five per cent slower in the median.
import path from "node:path";
import { defaultEngineOptions } from "../../dist/engine/engine-options.js";
import { createInProcessClient } from "../../dist/engine/in-process-client.js";
import { loadEngine } from "../../dist/engine/load-engine.js";
import { defaultSampling } from "../../dist/protocol/sampling-params.js";
import { parseFlags } from "./parse-flags.mjs";
import { openTokenizer, proseTokens, root } from "./prose.mjs";

const { values: flags } = parseFlags({
  options: {
    model: { type: "string", default: path.join(root, "models/pebble/model") },
    draft: { type: "string", default: path.join(root, "models/pebble/draft") },
    ngram: { type: "boolean", default: false },
    texts: { type: "string", default: "repetitive,prose,random" },
    sequences: { type: "string", default: "1,4" },
    tokens: { type: "string", default: "128" },
    rounds: { type: "string", default: "9" },
    guesses: { type: "string", default: "4" },
    fixed: { type: "boolean", default: false },
    threads: { type: "string", default: "0" },
    cpu: { type: "boolean", default: false },
  },
});
const maxTokens = Number(flags.tokens);
const numGuesses = Number(flags.guesses);
const numRounds = Number(flags.rounds);
const leastRatio = 0.95;
const promptLength = 96;
/** Time in which rounds do not count: measured step times decide how much is guessed, and code is compiled meanwhile. */
const warmMs = 3000;

const tokenizer = openTokenizer(flags.model);
const prose = proseTokens(tokenizer, 2 * promptLength);
const { vocabSize } = tokenizer;

/** The same numbers in each run. */
function randomIds(seed, count) {
  let state = seed + 1;
  return Array.from({ length: count }, () => {
    state = (state * 48271) % 2147483647;
    return 10 + (state % (vocabSize - 10));
  });
}

/** Tokens of the prose from any place on, round and round. */
const proseFrom = (first, count) =>
  Array.from({ length: count }, (_, at) => prose[(first + at) % prose.length]);

const texts = {
  repetitive: {
    prompt: (index) => {
      const line = proseFrom(index * 40, 16);
      return Array.from({ length: promptLength }, (_, at) => line[at % line.length]);
    },
    sampling: { temperature: 0 },
  },
  prose: {
    prompt: (index) => proseFrom(index * promptLength, promptLength),
    sampling: { temperature: 0 },
  },
  /** Random tokens in, and nearly random ones out: nothing can be foreseen. */
  random: {
    prompt: (index) => randomIds(index, promptLength),
    sampling: { temperature: 2 },
  },
};

async function open(speculation, numSequences) {
  const options = {
    ...defaultEngineOptions(flags.model),
    maxModelLen: promptLength + maxTokens + 32,
    maxNumSeqs: numSequences,
    numThreads: Number(flags.threads),
    enablePrefixCaching: false,
    seed: 1,
    speculation,
  };
  return createInProcessClient(await loadEngine(options));
}

async function answer(client, text, index, onFirst) {
  const sampling = {
    ...defaultSampling,
    ...text.sampling,
    maxTokens,
    ignoreEos: true,
    seed: BigInt(index),
  };
  const tokenIds = [];
  const request = { requestId: `r${index}`, promptTokenIds: text.prompt(index), sampling };
  for await (const { newTokenIds } of client.generate(request)) {
    if (tokenIds.length === 0) onFirst();
    tokenIds.push(...newTokenIds);
  }
  return tokenIds.join(" ");
}

/** Milliseconds of processor or wall time. */
const clockMs = () => {
  if (!flags.cpu) return performance.now();
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};

/** Decoding alone is timed: from the last first token to the end. */
async function decode(client, text, numSequences) {
  let firstMs = 0;
  const onFirst = () => {
    firstMs = clockMs();
  };
  const sequences = Array.from({ length: numSequences }, (_, index) => answer(client, text, index, onFirst));
  const answers = await Promise.all(sequences);
  const seconds = (clockMs() - firstMs) / 1000;
  return { answers, speed: (numSequences * (maxTokens - 1)) / seconds };
}

const quantile = (values, share) => {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.round(share * (sorted.length - 1))];
};

/** Share of right guesses by position between two readings of the engine's figures. */
function shares(before, after) {
  const parts = [];
  for (const [position, total] of after.numDraftTokensPerPos.entries()) {
    const numDrafted = total - before.numDraftTokensPerPos[position];
    if (numDrafted === 0) break;
    const numRight = after.numAcceptedTokensPerPos[position] - before.numAcceptedTokensPerPos[position];
    parts.push(`${Math.round((100 * numRight) / numDrafted)} % of ${numDrafted}`);
  }
  return parts.length === 0 ? "none made" : parts.join(", ");
}

const faults = [];

async function measure(name, numSequences, plain, guessing) {
  const text = texts[name];
  const warmEnd = performance.now() + warmMs;
  do for (const client of [plain, guessing]) await decode(client, text, numSequences);
  while (performance.now() < warmEnd);
  const before = await guessing.stats();
  const ratios = [];
  const speeds = { plain: [], guessing: [] };
  for (let round = 0; round < numRounds; round += 1) {
    const results = {};
    const order = round % 2 === 0 ? ["plain", "guessing"] : ["guessing", "plain"];
    for (const who of order)
      results[who] = await decode(who === "plain" ? plain : guessing, text, numSequences);
    for (const who of order) speeds[who].push(results[who].speed);
    ratios.push(results.guessing.speed / results.plain.speed);
    const isSame = results.plain.answers.every((tokens, index) => tokens === results.guessing.answers[index]);
    if (!isSame)
      faults.push(`${name}, ${numSequences} at a time, round ${round}: an answer differs from the plain one`);
  }
  const [least, low, ratio, high, most] = [0, 0.25, 0.5, 0.75, 1].map((share) => quantile(ratios, share));
  if (ratio < leastRatio && !flags.fixed)
    faults.push(`${name}, ${numSequences} at a time: ${ratio.toFixed(3)} of plain speed`);
  const cells = [
    name.padEnd(11),
    String(numSequences).padStart(9),
    quantile(speeds.plain, 0.5).toFixed(1).padStart(12),
    quantile(speeds.guessing, 0.5).toFixed(1).padStart(15),
    `  ${ratio.toFixed(2)} (${low.toFixed(2)} to ${high.toFixed(2)}; ${least.toFixed(2)} to ${most.toFixed(2)})`,
  ];
  console.log(`${cells.join("").padEnd(82)}${shares(before, await guessing.stats())}`);
}

console.log(`${flags.model}, guesses by ${flags.ngram ? "n-gram" : flags.draft}, ${numRounds} rounds`);
console.log(
  "text       sequences plain tok/s guessing tok/s  ratio (quartiles; range)          right guesses by position",
);
for (const numSequences of flags.sequences.split(",").map(Number)) {
  const draftPath = flags.ngram ? null : flags.draft;
  const plain = await open(null, numSequences);
  const guessing = await open({ numTokens: numGuesses, draftPath, isAdaptive: !flags.fixed }, numSequences);
  for (const name of flags.texts.split(",")) await measure(name, numSequences, plain, guessing);
  await plain.close();
  await guessing.close();
}
for (const fault of faults) console.log(fault);
console.log(faults.length === 0 ? "answers are identical" : "FAILED");
process.exit(faults.length === 0 ? 0 : 1);
