/** Settings by the names of flags, in the form that flags have. */
export type Preset = Readonly<Record<string, string>>;

/** What `--preset` names: how long and how hard the measurement is. */
export const presets = {
  /** A few minutes on a small model. Three short rounds tell more than two of the same time together. */
  quick: {
    concurrency: "1,4,16",
    "requests-per-seat": "2",
    "min-seconds": "2",
    rounds: "3",
    "input-tokens": "128",
    "output-tokens": "64",
  },
  /**
   * What a decision needs: a minute for each level and round, two turns of its users on a slow machine, and the tasks of the
   * field with limits.
   */
  standard: {
    concurrency: "1,5,10,25",
    "requests-per-seat": "2",
    "min-seconds": "60",
    rounds: "2",
    "input-tokens": "512",
    "output-tokens": "128",
    tasks: "arc_easy,hellaswag,ifeval,mmlu",
    limit: "arc_easy=200,hellaswag=200,ifeval=50,mmlu=10",
  },
  /**
   * 100 requests of 200 tokens each way, all at once, as vLLM's own example measures and prints. Such a load is one sample
   * of the throughput, so a difference needs several rounds.
   */
  lab: {
    concurrency: "none",
    "at-once": "100",
    "min-seconds": "3",
    rounds: "4",
    "input-tokens": "200",
    "output-tokens": "200",
    console: "vllm",
  },
  /** Ten rates, one after the other, at GuideLLM's usual lengths and in its tables. */
  guidellm: {
    concurrency: "none",
    rates: "1,2,3,4,5,6,7,8,9,10",
    "min-seconds": "60",
    rounds: "1",
    "input-tokens": "512",
    "output-tokens": "128",
    console: "guidellm",
  },
  /** The lengths, the time and the bound of the field's reference workflow. */
  reference: {
    concurrency: "1",
    "at-once": "200",
    sweep: "8",
    "requests-per-seat": "3",
    "min-seconds": "120",
    rounds: "1",
    "input-tokens": "1024",
    "output-tokens": "512",
    slo: "ttft_p95<=200ms",
  },
} satisfies Readonly<Record<string, Preset>>;

/** What `--use-case` names: lengths, and bounds that its users expect. */
export const useCases = {
  /** Somebody reads along: reading speed is about 5 words a second. */
  chat: { "input-tokens": "512", "output-tokens": "256", slo: "ttft_p90<=1s,tpot_p90<=100ms" },
  /** Long documents in, short answers out. */
  rag: { "input-tokens": "2000", "output-tokens": "500", slo: "ttft_p90<=3s,tpot_p90<=100ms" },
  /** An editor waits for every completion. */
  code: { "input-tokens": "1024", "output-tokens": "64", slo: "ttft_p90<=500ms,e2e_p90<=3s" },
  /** Nobody reads along: the whole answer counts. */
  summarise: { "input-tokens": "3000", "output-tokens": "200", slo: "e2e_p90<=30s" },
} satisfies Readonly<Record<string, Preset>>;

export const presetNames = Object.keys(presets) as [keyof typeof presets, ...(keyof typeof presets)[]];
export const useCaseNames = Object.keys(useCases) as [keyof typeof useCases, ...(keyof typeof useCases)[]];
