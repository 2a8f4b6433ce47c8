// What LoRA adapters cost in speed: an engine that was started without them, and one that has several loaded, of which
// requests use none, one, or each another. Rounds are interleaved. Needs `npm run build` and `npm run build:native`.
//
//   node tests/perf/adapter-cost.mjs [MODEL] [--rank 16] [--sequences 1,8] [--tokens 64] [--rounds 7] [--threads 0] [--cpu]
//
// MODEL is one of the Llama architecture. Adapters are random, for all linears of the layers. Prints decoded tokens per
// second, the median with the least and the most, and the ratio to the engine without adapters, taken in each round.
// --cpu measures processor time, which other programs disturb less; take --threads 1 with it, since waiting threads spin.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { openModel } from "../../dist/cli/model-source.js";
import { defaultEngineOptions } from "../../dist/engine/engine-options.js";
import { createInProcessClient } from "../../dist/engine/in-process-client.js";
import { loadEngine } from "../../dist/engine/load-engine.js";
import { defaultSampling } from "../../dist/protocol/sampling-params.js";
import { parseFlags } from "./parse-flags.mjs";
import { root } from "./prose.mjs";

const { values: flags, positionals } = parseFlags({
  allowPositionals: true,
  options: {
    rank: { type: "string", default: "16" },
    sequences: { type: "string", default: "1,8" },
    tokens: { type: "string", default: "64" },
    rounds: { type: "string", default: "7" },
    threads: { type: "string", default: "0" },
    cpu: { type: "boolean", default: false },
  },
});
const [model = path.join(root, "models/pebble/model")] = positionals;
const [rank, maxTokens, numRounds] = [flags.rank, flags.tokens, flags.rounds].map(Number);
const numAdapters = 4;
const promptLength = 32;

/** Modules of each layer with the rows and columns of their weights. */
function linearsOf({ numLayers, hiddenSize, intermediateSize, numHeads, numKvHeads, headDim }) {
  const [queries, keys] = [numHeads * headDim, numKvHeads * headDim];
  const shapes = {
    "self_attn.q_proj": [queries, hiddenSize],
    "self_attn.k_proj": [keys, hiddenSize],
    "self_attn.v_proj": [keys, hiddenSize],
    "self_attn.o_proj": [hiddenSize, queries],
    "mlp.gate_proj": [intermediateSize, hiddenSize],
    "mlp.up_proj": [intermediateSize, hiddenSize],
    "mlp.down_proj": [hiddenSize, intermediateSize],
  };
  return Array.from({ length: numLayers }, (_, layer) =>
    Object.entries(shapes).map(([name, shape]) => [`layers.${layer}.${name}`, shape]),
  ).flat();
}

/** Small random values, as PEFT writes them. */
function writeAdapter(folder, linears, seed) {
  let state = seed;
  const random = () => {
    state = (state * 48271) % 2147483647;
    return 0.02 * (state / 2147483647 - 0.5);
  };
  const header = {};
  const parts = [];
  let offset = 0;
  const add = (name, shape) => {
    const values = Float32Array.from({ length: shape[0] * shape[1] }, random);
    header[name] = { dtype: "F32", shape, data_offsets: [offset, offset + values.byteLength] };
    parts.push(new Uint8Array(values.buffer));
    offset += values.byteLength;
  };
  for (const [module, [rows, cols]] of linears) {
    add(`base_model.model.model.${module}.lora_A.weight`, [rank, cols]);
    add(`base_model.model.model.${module}.lora_B.weight`, [rows, rank]);
  }
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  mkdirSync(folder, { recursive: true });
  writeFileSync(path.join(folder, "adapter_model.safetensors"), Buffer.concat([length, text, ...parts]));
  const targets = [...new Set(linears.map(([module]) => module.split(".").at(-1)))];
  const config = { peft_type: "LORA", r: rank, lora_alpha: rank, bias: "none", target_modules: targets };
  writeFileSync(path.join(folder, "adapter_config.json"), JSON.stringify(config));
}

async function open(numSequences, adapters) {
  const options = {
    ...defaultEngineOptions(model),
    maxModelLen: promptLength + maxTokens + 32,
    maxNumSeqs: numSequences,
    numThreads: Number(flags.threads),
    enablePrefixCaching: false,
    seed: 1,
    adapters,
  };
  return createInProcessClient(await loadEngine(options));
}

/** Milliseconds of processor or wall time. */
function clockMs() {
  if (!flags.cpu) return performance.now();
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** Tokens per second of decoding alone: from the last first token to the end. `adapterOf` is of a sequence's number. */
async function decode({ client, adapterOf }, numSequences) {
  let firstMs = 0;
  const answer = async (index) => {
    let hasBegun = false;
    const adapter = adapterOf(index);
    const request = {
      requestId: `r${index}`,
      promptTokenIds: Array.from({ length: promptLength }, (_, at) => 10 + ((index * 97 + at * 31) % 1000)),
      sampling: { ...defaultSampling, temperature: 0, maxTokens, ignoreEos: true },
      ...(adapter === null ? {} : { adapter }),
    };
    for await (const _ of client.generate(request)) {
      if (!hasBegun) firstMs = clockMs();
      hasBegun = true;
    }
  };
  await Promise.all(Array.from({ length: numSequences }, (_, index) => answer(index)));
  return (numSequences * (maxTokens - 1)) / ((clockMs() - firstMs) / 1000);
}

function spread(values, digits) {
  const sorted = values.toSorted((a, b) => a - b);
  const [median, least, most] = [sorted[sorted.length >> 1], sorted[0], sorted.at(-1)];
  return `${median.toFixed(digits)} (${least.toFixed(digits)} to ${most.toFixed(digits)})`;
}

async function measure(numSequences, sources) {
  const plain = await open(numSequences, null);
  const adapters = { maxRank: rank, maxNumAdapters: numAdapters, initial: sources };
  const adapted = await open(numSequences, adapters);
  const { name: first } = sources[0];
  const ways = {
    "without adapters": { client: plain, adapterOf: () => null },
    "loaded, none used": { client: adapted, adapterOf: () => null },
    "one used by all": { client: adapted, adapterOf: () => first },
    ...(numSequences === 1
      ? {}
      : {
          "one used by one": { client: adapted, adapterOf: (index) => (index === 0 ? first : null) },
          [`${numAdapters} by turns`]: {
            client: adapted,
            adapterOf: (index) => sources[index % numAdapters].name,
          },
        }),
  };
  const rounds = [];
  for (let round = -1; round < numRounds; round += 1) {
    const speeds = {};
    for (const [name, way] of Object.entries(ways)) speeds[name] = await decode(way, numSequences);
    // The first one compiles.
    if (round >= 0) rounds.push(speeds);
  }
  for (const name of Object.keys(ways)) {
    const speeds = rounds.map((speed) => speed[name]);
    const ratios = rounds.map((speed) => speed[name] / speed["without adapters"]);
    console.log(
      `${numSequences} in flight, ${name}: ${spread(speeds, 1)} tokens/s, ratio ${spread(ratios, 2)}`,
    );
  }
  await plain.close();
  await adapted.close();
}

const scratch = mkdtempSync(path.join(os.tmpdir(), "millrace-adapter-cost-"));
try {
  const checkpoint = openModel(model);
  const linears = linearsOf(checkpoint.config);
  checkpoint.close();
  const sources = Array.from({ length: numAdapters }, (_, index) => {
    const source = { name: `adapter${index}`, path: path.join(scratch, `${index}`) };
    writeAdapter(source.path, linears, index + 1);
    return source;
  });
  console.log(`rank ${rank}, all linears, ${numRounds} rounds, ${flags.cpu ? "processor" : "wall"} time`);
  for (const numSequences of flags.sequences.split(",").map(Number)) await measure(numSequences, sources);
} finally {
  rmSync(scratch, { recursive: true });
}
