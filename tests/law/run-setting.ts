import type { EngineLoop } from "../../src/engine/engine-loop.ts";
import { createInProcessClient } from "../../src/engine/in-process-client.ts";
import { loadEngine } from "../../src/engine/load-engine.ts";
import type { EngineClient, EngineStats } from "../../src/protocol/engine-client.ts";
import { type Answer, answer, firstDifference } from "./answer.ts";
import { createRandom, shuffled } from "./covering-array.ts";
import { drawStranger, type LawRequest, lawRequests } from "./law-requests.ts";
import {
  type LawArithmetic,
  type LawModel,
  type LawSetting,
  optionsFor,
  plainOptions,
} from "./law-settings.ts";

/** What a run of all requests under one setting gave. */
export interface SettingRun {
  readonly answers: readonly Answer[];
  /** Figures of the run itself, without what warmed the cache. */
  readonly stats: EngineStats;
  readonly numThreads: number;
  readonly kvDtype: string;
  readonly attentionDtype: string;
  readonly isa: string;
  readonly blockSize: number;
  /** Most sequences that ran at a time. */
  readonly maxRunning: number;
  /** Most that waited in the host tier, whenever a request had an output. */
  readonly maxSwapped: number;
}

/** Steps of which the engine tells who took part are looked at before newer ones take their place. */
const stepsPerLook = 100;

/** Looks at an engine whenever a request has an output. */
class RunWatch {
  readonly #engine: EngineLoop;
  #lastLook = 0;
  maxRunning = 0;
  maxSwapped = 0;

  constructor(engine: EngineLoop) {
    this.#engine = engine;
  }

  look(): void {
    const { counters } = this.#engine;
    this.maxRunning = Math.max(this.maxRunning, counters.get("numRunning"));
    this.maxSwapped = Math.max(this.maxSwapped, counters.get("numSwapped"));
    if (counters.get("numSteps") >= this.#lastLook + stepsPerLook) this.lookAtSteps();
  }

  /** When there is an output, the counter of who runs is without those that the step has ended. */
  lookAtSteps(): void {
    this.#lastLook = this.#engine.counters.get("numSteps");
    const steps = this.#engine.recentSteps();
    this.maxRunning = Math.max(this.maxRunning, ...steps.map(({ active }) => active.length));
  }
}

/** Each request alone: what every other run must give. */
export async function answersAlone(model: LawModel, arithmetic: LawArithmetic): Promise<Answer[]> {
  return withEngine(await loadEngine(plainOptions(model, arithmetic)), async (client) => {
    const answers: Answer[] = [];
    for (const [index, request] of lawRequests(client.info.vocabSize, model.maxTokens).entries())
      answers.push(await answer(client, `r${index}`, request));
    return answers;
  });
}

/** All requests together under one setting, among strangers that come and go. */
export async function runSetting(model: LawModel, setting: LawSetting, seed: number): Promise<SettingRun> {
  const engine = await loadEngine(optionsFor(model, setting));
  return withEngine(engine, async (client) => {
    const requests = lawRequests(client.info.vocabSize, model.maxTokens);
    await warm(client, requests, setting.prefix);
    const before = await client.stats();
    const watched = new RunWatch(engine);
    const answers = await runTogether({
      client,
      requests,
      seed,
      numStrangers: 8 + setting.batch,
      watch: () => watched.look(),
    });
    watched.lookAtSteps();
    const { maxRunning, maxSwapped } = watched;
    const stats = difference(await client.stats(), before);
    const { numThreads, kvDtype, attentionDtype, isa, blockSize } = client.info;
    return { answers, stats, numThreads, kvDtype, attentionDtype, isa, blockSize, maxRunning, maxSwapped };
  });
}

/** Says of each request that got another answer what differs first. */
export function differences(expected: readonly Answer[], got: readonly Answer[]): string[] {
  return expected.flatMap((answer, index) => {
    const difference = firstDifference(answer, got[index]!);
    return difference === null ? [] : [`request ${index}: ${difference}`];
  });
}

/** Tokens of a prompt that a partial warm-up sends ahead: it ends inside a block more often than not. */
export const warmedTokens = (length: number): number => Math.ceil(length * 0.6);

async function withEngine<T>(engine: EngineLoop, use: (client: EngineClient) => Promise<T>): Promise<T> {
  const client = createInProcessClient(engine);
  try {
    const result = await use(client);
    await idle(client);
    engine.checkInvariants();
    return result;
  } finally {
    await client.close();
  }
}

/** Resolves when the last abort has been read. */
async function idle(client: EngineClient): Promise<void> {
  for (;;) {
    const { numRunning, numWaiting } = await client.stats();
    if (numRunning + numWaiting === 0) return;
    await nextTurn();
  }
}

async function warm(
  client: EngineClient,
  requests: readonly LawRequest[],
  prefix: LawSetting["prefix"],
): Promise<void> {
  if (prefix !== "warm" && prefix !== "partial") return;
  for (const [index, { promptTokenIds, sampling }] of requests.entries()) {
    const length = promptTokenIds.length;
    const known = promptTokenIds.slice(0, prefix === "warm" ? length : warmedTokens(length));
    const short = { ...sampling, maxTokens: 1, minTokens: 0 };
    await answer(client, `warm${index}`, { promptTokenIds: known, sampling: short });
  }
}

interface Crowd {
  readonly client: EngineClient;
  readonly requests: readonly LawRequest[];
  readonly seed: number;
  readonly numStrangers: number;
  readonly watch: () => void;
}

async function runTogether({ client, requests, seed, numStrangers, watch }: Crowd): Promise<Answer[]> {
  const random = createRandom(seed);
  const answers: Answer[] = [];
  const open: Promise<void>[] = [];
  const order = arrivalOrder(requests, random);
  const strangers = Array.from({ length: numStrangers }, (_, index) =>
    drawStranger(random, client.info.vocabSize, index),
  );
  const numAtOnce = requests.filter(({ group }) => group === 0).length;
  for (const [place, index] of order.entries()) {
    const sent = answer(client, `r${index}`, requests[index]!, watch);
    open.push(sent.then((given) => void (answers[index] = given)));
    // The long and the growing requests come first and at once, so that they run together however few run at a time.
    // Others come one by one, and the last half with all strangers that are left: more than a batch holds.
    if (place < numAtOnce || place >= order.length / 2) continue;
    for (const stranger of strangers.splice(0, 1)) open.push(visit(client, stranger, open.length));
    for (let turns = Math.floor(random() * 3); turns > 0; turns -= 1) await nextTurn();
  }
  for (const stranger of strangers) open.push(visit(client, stranger, open.length));
  await Promise.all(open);
  return answers;
}

/** The long and the growing requests first, then the groups in a random order. */
function arrivalOrder(requests: readonly LawRequest[], random: () => number): number[] {
  const groups = shuffled([...new Set(requests.map(({ group }) => group))], random);
  const ranked = [0, ...groups.filter((group) => group !== 0)];
  return [...requests.keys()].sort(
    (a, b) => ranked.indexOf(requests[a]!.group) - ranked.indexOf(requests[b]!.group) || a - b,
  );
}

/** Half of the impatient abort by id, half leave their loop. */
async function visit(
  client: EngineClient,
  { promptTokenIds, sampling, patience }: ReturnType<typeof drawStranger>,
  number: number,
): Promise<void> {
  const requestId = `stranger${number}`;
  let numTokens = 0;
  if (patience === 0) void nextTurn().then(() => client.abort(requestId));
  for await (const output of client.generate({ requestId, promptTokenIds, sampling })) {
    numTokens += output.newTokenIds.length;
    if (numTokens < patience || patience === 0) continue;
    if (number % 2 === 0) break;
    client.abort(requestId);
  }
}

const nextTurn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

function difference(after: EngineStats, before: EngineStats): EngineStats {
  const since = (value: number | readonly number[], earlier: number | readonly number[]): unknown =>
    typeof value === "number"
      ? value - (earlier as number)
      : value.map((each, index) => each - (earlier as readonly number[])[index]!);
  const entries = Object.entries(after).map(([name, value]) => [
    name,
    since(value, before[name as keyof EngineStats]),
  ]);
  return Object.fromEntries(entries) as EngineStats;
}
