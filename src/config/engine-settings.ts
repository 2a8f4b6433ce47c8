import { z } from "zod";
import { type Component, field, type Values } from "./component.ts";
import { bytes, integer, oneOf, real, tokenCountOrAuto, weightList } from "./value-schemas.ts";

/** How the weights and activations run; shared by every command that loads a model. */
export const precisionSettings = {
  dtype: field(
    "--dtype <type>",
    oneOf(["auto", "bfloat16", "float16", "float32"]).default("auto"),
    "what weights become: auto keeps the file's integers or floats; a float type dequantises and rounds first",
  ),
  activations: field(
    "--activations <form>",
    oneOf(["auto", "int8", "int8-block32", "bf16", "f32"]).default("auto"),
    "input of the linears: auto follows the weights (W8A8 int8 per token, other integers int8 in blocks of 32, " +
      "bf16 weights bf16); f32 is the exact path",
  ),
  attentionDtype: field(
    "--attention-dtype <type>",
    oneOf(["auto", "f32", "bf16"]).default("auto"),
    "operands of the products of attention: auto is f32, the exact path; bf16 rounds queries, keys, weights and values, " +
      "which pays on processors with bf16 instructions",
  ),
  backend: field(
    "--backend <name>",
    oneOf(["auto", "native", "reference"]).default("auto"),
    "native kernels, or the slow TypeScript reference",
  ),
  isa: field(
    "--isa <name>",
    oneOf(["auto", "avx2", "avx512", "avx512-bf16", "amx"]).default("auto"),
    "force a lower instruction set",
    { env: "MILLRACE_ISA" },
  ),
  threads: field(
    "--threads <n>",
    integer(0, 1024).default(0),
    "kernel threads; 0 = physical cores inside affinity and quota",
  ),
} satisfies Component;

/** Scheduler and memory limits, under vLLM's flag names where the meaning is the same. */
export const schedulerSettings = {
  maxModelLen: field(
    "--max-model-len <tokens>",
    tokenCountOrAuto.optional(),
    "longest context, such as 4096 or 32k; auto is the longest that fits into the free memory (default: the model's own, " +
      "as far as the default KV cache holds it)",
  ),
  maxNumSeqs: field("--max-num-seqs <n>", integer(1, 4096).default(128), "most sequences in one step"),
  maxNumBatchedTokens: field(
    "--max-num-batched-tokens <n>",
    integer(1, 65536).default(512),
    "most tokens in one step; longer prompts are computed in chunks",
  ),
  longPrefillTokenThreshold: field(
    "--long-prefill-token-threshold <n>",
    integer(0).default(0),
    "most tokens of one prompt in one step; 0 = no cap of its own",
  ),
  kvCacheDtype: field(
    "--kv-cache-dtype <type>",
    oneOf(["auto", "f32", "f16", "bf16", "int8"]).default("auto"),
    "numbers of the KV cache; auto is f16, or f32 with --activations f32; int8 has a scale per token and head",
  ),
  kvCacheMemory: field(
    "--kv-cache-memory-bytes <size>",
    bytes.optional(),
    "memory for the KV cache, such as 2GiB (default: what all sequences may need, up to a quarter of the free memory and 4GiB)",
  ),
  memoryUtilization: field(
    "--memory-utilization <share>",
    real(0.01, 1).optional(),
    "share of the free memory for weights, KV cache and activations together, such as 0.8; the KV cache takes what " +
      "sequences can use of it; not beside --kv-cache-memory-bytes",
  ),
  swapSpace: field(
    "--swap-space <size>",
    bytes.optional(),
    "memory where preempted sequences wait, such as 1GiB (default: none, they are computed again)",
  ),
  maxNumQueuedReqs: field(
    "--max-num-queued-reqs <n>",
    integer(1, 65_536).default(4096),
    "most waiting requests; more are refused with 503",
  ),
  maxNumQueuedTokens: field(
    "--max-num-queued-tokens <n>",
    integer(1).optional(),
    "most prompt tokens that wait; more are refused with 503 (default: no cap)",
  ),
  maxNumQueuedReqsPerTenant: field(
    "--max-num-queued-reqs-per-tenant <n>",
    integer(1).optional(),
    "most waiting requests of one tenant, requests without one together; more are refused with 429 (default: no cap)",
  ),
  schedulingPolicy: field(
    "--scheduling-policy <name>",
    oneOf(["fcfs", "priority", "fair"]).default("fcfs"),
    "who starts first: fcfs by arrival; priority the lowest number, which may starve others; fair shares the tokens " +
      "between tenants by weight",
  ),
  tenantWeight: field(
    "--tenant-weight <name=weight,...>",
    weightList.optional(),
    "shares under --scheduling-policy fair, such as gold=4,batch=0.5 (default: 1 for each tenant)",
  ),
  preemptionVictim: field(
    "--preemption-victim <name>",
    oneOf(["lifo", "fifo", "priority", "size"]).optional(),
    "who gives way when the KV cache is full: lifo the one started last, fifo the one that has run longest, priority " +
      "the highest number, size the one with most blocks (default: lifo; priority under --scheduling-policy priority)",
  ),
  enablePrefixCaching: field(
    "--enable-prefix-caching [on|off]",
    oneOf(["on", "off"]).default("on"),
    "whether a request uses what another computed for the same first tokens; answers are the same either way",
  ),
  checkPrefixCache: field(
    "--check-prefix-cache",
    z.boolean().default(false),
    "compute what the prefix cache knows again and count differences; slow, for finding faults",
  ),
  blockSize: field("--block-size <tokens>", integer(1, 256).default(32), "tokens per block of the KV cache"),
  specMethod: field(
    "--spec-method <name>",
    oneOf(["ngram", "draft"]).optional(),
    "guess tokens and verify several in one step: ngram from the text so far, draft by --spec-model; answers are the " +
      "same (default: none)",
  ),
  specModel: field(
    "--spec-model <path>",
    z.string().optional(),
    "smaller model with the same vocabulary, for --spec-method draft",
  ),
  specTokens: field(
    "--spec-tokens <n>",
    integer(1, 16).optional(),
    "most guesses per sequence and step; fewer are made where they do not pay; needs --spec-method (default: 4)",
  ),
  seed: field(
    "--seed <n>",
    integer(0).default(0),
    "seed of requests without one is drawn from this and their order",
  ),
} satisfies Component;

/** All that an engine takes. */
export const engineSettings = { ...precisionSettings, ...schedulerSettings } satisfies Component;

export type EngineSettings = Values<typeof engineSettings>;
export type PrecisionSettings = Values<typeof precisionSettings>;

/** Which files to take beside the model's own. */
export const sourceSettings = {
  tokenizer: field(
    "--tokenizer <path>",
    z.string().optional(),
    "tokenizer from elsewhere: a folder, a tokenizer.json or a GGUF file",
  ),
  chatTemplate: field(
    "--chat-template <file>",
    z.string().optional(),
    "Jinja file to use instead of the model's own",
  ),
} satisfies Component;
