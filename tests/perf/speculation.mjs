// What guessing ahead is worth: plain decoding against guesses from the text (n-gram) or from a draft model, on text
// that repeats itself, on prose and on random tokens. Rounds are interleaved. Needs `npm run build` and
// `npm run build:native`.
//
//   node tests/perf/speculation.mjs [--model models/pebble/model] [--draft models/pebble/draft | --ngram]
//     [--tokens 128] [--rounds 5] [--sequences 1] [--guesses 4]
//
// Prints tokens per second, the ratio with its range, and the share of right guesses by place. Fails when an answer
// differs from the plain one, or when random tokens are more than five per cent slower.
import path from "node:path";
import { parseArgs } from "node:util";
import { defaultEngineOptions } from "../../dist/engine/engine-options.js";
import { createInProcessClient } from "../../dist/engine/in-process-client.js";
import { loadEngine } from "../../dist/engine/load-engine.js";
import { Acceptance } from "../../dist/engine/speculation/acceptance.js";
import { defaultSampling } from "../../dist/protocol/sampling-params.js";
import { openTokenizer, proseTokens, root } from "./prose.mjs";

const { values: flags } = parseArgs({
  options: {
    model: { type: "string", default: path.join(root, "models/pebble/model") },
    draft: { type: "string", default: path.join(root, "models/pebble/draft") },
    ngram: { type: "boolean", default: false },
    tokens: { type: "string", default: "128" },
    rounds: { type: "string", default: "5" },
    sequences: { type: "string", default: "1" },
    guesses: { type: "string", default: "4" },
  },
});
const maxTokens = Number(flags.tokens);
const numSequences = Number(flags.sequences);
const numGuesses = Number(flags.guesses);
const leastRatioOnRandom = 0.95;

/** Guesses made and right ones by place, of all engines of this process. */
const made = Array.from({ length: numGuesses }, () => 0);
const right = Array.from({ length: numGuesses }, () => 0);
const { value: record } = Object.getOwnPropertyDescriptor(Acceptance.prototype, "record");
Acceptance.prototype.record = function count(row, numDrafts, numRight) {
  for (let place = 0; place < numDrafts; place += 1) {
    made[place] += 1;
    if (place < numRight) right[place] += 1;
  }
  return record.call(this, row, numDrafts, numRight);
};

const tokenizer = openTokenizer(flags.model);
const prose = proseTokens(tokenizer, 2000);
const { vocabSize } = tokenizer;
const promptLength = 96;

/** The same numbers in each run. */
function randomIds(seed, count) {
  let state = seed + 1;
  return Array.from({ length: count }, () => {
    state = (state * 48271) % 2147483647;
    return 10 + (state % (vocabSize - 10));
  });
}

/** Random tokens in, and nearly random ones out: nothing can be foreseen. */
const texts = {
  repetitive: {
    prompt: (index) => {
      const line = prose.slice(index * 40, index * 40 + 16);
      return Array.from({ length: promptLength }, (_, at) => line[at % line.length]);
    },
    sampling: { temperature: 0 },
  },
  prose: {
    prompt: (index) => prose.slice(index * promptLength, (index + 1) * promptLength),
    sampling: { temperature: 0 },
  },
  random: {
    prompt: (index) => randomIds(index, promptLength),
    sampling: { temperature: 2 },
  },
};

async function open(speculation) {
  const options = {
    ...defaultEngineOptions(flags.model),
    maxModelLen: promptLength + maxTokens + 32,
    maxNumSeqs: numSequences,
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

/** Decoding alone is timed: from the last first token to the end. */
async function decode(client, text) {
  let firstMs = 0;
  const onFirst = () => {
    firstMs = performance.now();
  };
  const sequences = Array.from({ length: numSequences }, (_, index) => answer(client, text, index, onFirst));
  const answers = await Promise.all(sequences);
  const seconds = (performance.now() - firstMs) / 1000;
  return { answers, speed: (numSequences * (maxTokens - 1)) / seconds };
}

const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];

const plain = await open(null);
const guessing = await open({ numTokens: numGuesses, draftPath: flags.ngram ? null : flags.draft });
const faults = [];
console.log(`${flags.model}, guesses by ${flags.ngram ? "n-gram" : flags.draft}, ${numSequences} at a time`);
console.log("text        plain tok/s  guessing tok/s  ratio (range)            right guesses by place");
for (const [name, text] of Object.entries(texts)) {
  // One round of each that does not count: the measured step times decide how much is guessed.
  await decode(plain, text);
  await decode(guessing, text);
  made.fill(0);
  right.fill(0);
  const rounds = [];
  for (let round = 0; round < Number(flags.rounds); round += 1) {
    const results = {};
    const order = round % 2 === 0 ? ["plain", "guessing"] : ["guessing", "plain"];
    for (const who of order) results[who] = await decode(who === "plain" ? plain : guessing, text);
    rounds.push(results);
    const isSame = results.plain.answers.every((tokens, index) => tokens === results.guessing.answers[index]);
    if (!isSame) faults.push(`${name}, round ${round}: an answer differs from the plain one`);
  }
  const ratios = rounds.map((results) => results.guessing.speed / results.plain.speed);
  const ratio = median(ratios);
  if (name === "random" && ratio < leastRatioOnRandom)
    faults.push(`${name}: ${ratio.toFixed(3)} of plain speed`);
  const speeds = ["plain", "guessing"].map((who) => median(rounds.map((results) => results[who].speed)));
  const range = `${Math.min(...ratios).toFixed(2)} to ${Math.max(...ratios).toFixed(2)}`;
  const places = made.map((count, place) =>
    count === 0 ? "-" : `${Math.round((100 * right[place]) / count)} % of ${count}`,
  );
  console.log(
    `${name.padEnd(11)} ${speeds[0].toFixed(1).padStart(11)} ${speeds[1].toFixed(1).padStart(15)}  ` +
      `${ratio.toFixed(2)} (${range})`.padEnd(25) +
      places.join(", "),
  );
}
await plain.close();
await guessing.close();
for (const fault of faults) console.log(fault);
console.log(faults.length === 0 ? "answers are identical" : "FAILED");
process.exit(faults.length === 0 ? 0 : 1);
