import { invariant } from "../../base/invariant.ts";
import { defaultSampling } from "../../protocol/sampling-params.ts";
import type { Engine } from "../engine.ts";
import type { StepMessage } from "../open-requests.ts";
import { readStep } from "../step-record.ts";
import { addToShape, type MeasuredStep, type StepShape } from "./step-cost-model.ts";

/** Sequences that decode together, and a prompt that joins them once they do. */
interface Scene {
  readonly numSequences: number;
  /** Prompt tokens of each. */
  readonly numPromptTokens: number;
  /** Prompt tokens of the one that joins; 0 for none. */
  readonly numJoining: number;
}

/** Decode steps that are timed in a scene; their median is what counts. */
const numDecodeSteps = 12;
/** Times that a scene with a joining prompt is run: it has one such step only. */
const numJoins = 3;

const sequenceCounts = [1, 2, 4, 8, 16, 32, 64, 128] as const;
const contextLengths = [32, 512, 1536] as const;
const joiningLengths = [8, 64, 256, 1024, 1984] as const;
const joinedCounts = [0, 4, 32] as const;

/**
 * Times steps of an idle engine over a grid of shapes: decode of one to 128 sequences over short and long contexts, and
 * prompts alone and beside decode. Scenes that do not fit, or whose prompts alone would go beyond the budget by the
 * speed measured so far, are left out; small ones come first.
 *
 * @param budgetMs about how long to measure
 */
export async function measureSteps(engine: Engine, budgetMs: number): Promise<MeasuredStep[]> {
  const steps: MeasuredStep[] = [];
  const startMs = performance.now();
  const runner = new SceneRunner(engine);
  await runner.run({ numSequences: 2, numPromptTokens: 16, numJoining: 16 });
  let msPerToken = 0;
  for (const scene of scenesFor(engine)) {
    const numTokens = scene.numSequences * scene.numPromptTokens + numJoins * scene.numJoining;
    const elapsedMs = performance.now() - startMs;
    if (steps.length > 0 && elapsedMs + numTokens * msPerToken > budgetMs) continue;
    steps.push(...(await runner.run(scene)));
    msPerToken = (performance.now() - startMs - elapsedMs) / numTokens;
  }
  return steps;
}

/** The scenes that fit into the engine, those with fewest tokens first. */
function scenesFor(engine: Engine): Scene[] {
  const { maxModelLen, maxNumSeqs, maxNumBatchedTokens, numTotalBlocks, blockSize } = engine.info;
  const decodes = sequenceCounts.flatMap((numSequences) =>
    contextLengths.map((numPromptTokens) => ({ numSequences, numPromptTokens, numJoining: 0 })),
  );
  const joins = joinedCounts.flatMap((numSequences) =>
    joiningLengths.map((numJoining) => ({ numSequences, numPromptTokens: 64, numJoining })),
  );
  const blocksFor = (numTokens: number): number => Math.ceil(numTokens / blockSize);
  const fits = ({ numSequences, numPromptTokens, numJoining }: Scene): boolean => {
    const numTokens = numPromptTokens + numDecodeSteps + 2;
    const numBlocks = numSequences * blocksFor(numTokens) + blocksFor(numJoining + 1) + numSequences;
    return (
      Math.max(numTokens, numJoining + 1) <= maxModelLen &&
      numSequences + Math.sign(numJoining) <= maxNumSeqs &&
      numSequences + numJoining <= maxNumBatchedTokens &&
      numBlocks <= numTotalBlocks
    );
  };
  const size = (scene: Scene): number => scene.numSequences * scene.numPromptTokens + scene.numJoining;
  return [...decodes, ...joins].filter(fits).sort((a, b) => size(a) - size(b));
}

/** Runs scenes one after the other and takes the time between the engine's messages, one for each step that draws. */
class SceneRunner {
  readonly #engine: Engine;
  readonly #vocabSize: number;
  #nextHandle = 0;
  #randomState = 1;

  constructor(engine: Engine) {
    this.#engine = engine;
    this.#vocabSize = engine.info.vocabSize;
  }

  /** What the scene's steps took: one entry for its decode steps, or one for its joins. */
  async run(scene: Scene): Promise<MeasuredStep[]> {
    const numRuns = scene.numJoining === 0 ? 1 : numJoins;
    const steps: MeasuredStep[] = [];
    for (let index = 0; index < numRuns; index += 1) steps.push(...(await this.#runOnce(scene)));
    steps.sort((a, b) => a.timeMs - b.timeMs);
    const median = steps[Math.floor(steps.length / 2)];
    return median === undefined ? [] : [median];
  }

  #runOnce(scene: Scene): Promise<MeasuredStep[]> {
    const watch = new SceneWatch(scene, (numTokens, maxTokens) => this.#submit(numTokens, maxTokens));
    return new Promise((resolve, reject) => {
      this.#engine.connect((message) => {
        try {
          if (watch.receive(message, performance.now())) resolve(watch.steps);
        } catch (error) {
          reject(error instanceof Error ? error : new Error(String(error)));
        }
      });
      watch.start(performance.now());
    });
  }

  /** Hands in a random prompt, so that no prefix is known; returns its handle. */
  #submit(numTokens: number, maxTokens: number): number {
    const handle = this.#nextHandle;
    this.#nextHandle += 1;
    this.#engine.generate(handle, {
      requestId: String(handle),
      promptTokenIds: Int32Array.from({ length: numTokens }, () => this.#randomToken()),
      sampling: { ...defaultSampling, maxTokens, temperature: 0, ignoreEos: true },
    });
    return handle;
  }

  /** A linear congruential generator (Numerical Recipes, 32 bits), high bits: the same prompts on every run. */
  #randomToken(): number {
    this.#randomState = (Math.imul(this.#randomState, 1664525) + 1013904223) >>> 0;
    return Math.floor((this.#randomState / 2 ** 32) * this.#vocabSize);
  }
}

/** Follows one scene: knows from the messages what each step was made of. */
class SceneWatch {
  readonly steps: MeasuredStep[] = [];
  readonly #scene: Scene;
  readonly #submit: (numTokens: number, maxTokens: number) => number;
  /** Tokens of each open sequence, drawn ones included. */
  readonly #lengths = new Map<number, number>();
  #joining = -1;
  #isDecoding = false;
  #lastMs = 0;

  constructor(scene: Scene, submit: (numTokens: number, maxTokens: number) => number) {
    this.#scene = scene;
    this.#submit = submit;
  }

  start(nowMs: number): void {
    const { numSequences, numPromptTokens } = this.#scene;
    this.#lastMs = nowMs;
    for (let index = 0; index < numSequences; index += 1)
      this.#lengths.set(this.#submit(numPromptTokens, numDecodeSteps + 1), numPromptTokens);
    if (numSequences === 0) this.#join();
  }

  /** True once the scene is over. */
  receive(message: StepMessage, nowMs: number): boolean {
    const [failure] = message.failures;
    if (failure !== undefined) throw failure.error;
    const shape: StepShape = {
      numPrefillTokens: 0,
      numSequences: 0,
      numContextTokens: 0,
      numPrefillPairs: 0,
    };
    let hasJoined = false;
    const ended: number[] = [];
    readStep(message.records, ({ handle, numNew, finishReason }) => {
      invariant(numNew === 1, "a step of a calibration drew several tokens of one sequence");
      const length = this.#lengths.get(handle)!;
      if (handle === this.#joining) {
        hasJoined = true;
        addToShape(shape, 0, length, length);
      } else addToShape(shape, length - 1, 1, length);
      this.#lengths.set(handle, length + 1);
      if (finishReason !== null) ended.push(handle);
    });
    const isWhole = shape.numSequences === this.#lengths.size;
    const isWanted = this.#scene.numJoining > 0 ? hasJoined : true;
    const isKnown = this.#isDecoding || this.#scene.numSequences === 0;
    if (isWhole && isKnown && isWanted) this.steps.push({ shape, timeMs: nowMs - this.#lastMs });
    for (const handle of ended) this.#lengths.delete(handle);
    if (isWhole && this.#isDecoding && this.#joining === -1 && this.#scene.numJoining > 0) this.#join();
    this.#isDecoding = isWhole;
    this.#lastMs = nowMs;
    return this.#lengths.size === 0;
  }

  #join(): void {
    this.#joining = this.#submit(this.#scene.numJoining, 1);
    this.#lengths.set(this.#joining, this.#scene.numJoining);
  }
}
