import { invariant } from "../../base/invariant.ts";
import { defaultSampling } from "../../protocol/sampling-params.ts";
import type { EngineLoop } from "../engine-loop.ts";
import type { StepMessage } from "../open-requests.ts";
import { readStep } from "../step-record.ts";
import { type MeasuredStep, medianStep } from "./fit-step-costs.ts";
import { addToShape, emptyShape } from "./step-cost-model.ts";

/** Sequences that decode together, and a prompt that joins them once they do. */
interface Scene {
  readonly numSequences: number;
  /** Prompt tokens of each. */
  readonly numPromptTokens: number;
  /** Prompt tokens of the one that joins; 0 for none. */
  readonly numJoining: number;
}

/** Decode steps that are timed each time a scene is run. */
const numDecodeSteps = 16;
/** Every scene is run so often, with all others in between: what else the machine does comes in bursts. */
const numPasses = 3;
/** Share of the time after which the JavaScript of a step is taken to be compiled. */
const warmUpShare = 0.1;
/** Scenes that are run whatever they take. */
const minScenes = 4;

const sequenceCounts = [1, 2, 3, 4, 6, 8, 12, 16, 32, 64, 128] as const;
const contextLengths = [32, 384, 1536] as const;
const joiningLengths = [8, 64, 256, 1024, 1984] as const;
const joinedCounts = [0, 4, 32] as const;

/**
 * Times steps of an idle engine over a grid of shapes: decode of one to 128 sequences over short and long contexts, and
 * prompts alone and beside decode. Small ones come first. Scenes that do not fit, or that would go beyond the budget
 * by the speed measured so far, are left out.
 *
 * @param budgetMs about how long to measure
 */
export async function measureSteps(engine: EngineLoop, budgetMs: number): Promise<MeasuredStep[]> {
  const startMs = performance.now();
  const runner = new SceneRunner(engine);
  const scenes = scenesFor(engine);
  const samples = scenes.map((): MeasuredStep[] => []);
  do await runner.run(warmUpScene);
  while (performance.now() - startMs < warmUpShare * budgetMs);
  for (let pass = 0; pass < numPasses; pass += 1) {
    for (const [index, scene] of scenes.entries()) {
      const endMs = performance.now() + runner.estimateMs(scene);
      if (endMs - startMs <= budgetMs || (pass === 0 && index < minScenes))
        samples[index]!.push(...(await runner.run(scene)));
    }
  }
  return samples.filter((steps) => steps.length > 0).map(medianStep);
}

const warmUpScene: Scene = { numSequences: 2, numPromptTokens: 16, numJoining: 16 };

/** The scenes that fit into the engine, those with fewest tokens first. */
function scenesFor(engine: EngineLoop): Scene[] {
  const { maxModelLen, maxNumSeqs, maxNumBatchedTokens, numTotalBlocks, blockSize } = engine.info;
  const decodes = sequenceCounts.flatMap((numSequences) =>
    contextLengths.map((numPromptTokens) => ({ numSequences, numPromptTokens, numJoining: 0 })),
  );
  const joins = joinedCounts.flatMap((numSequences) =>
    joiningLengths.map((numJoining) => ({
      numSequences,
      numPromptTokens: numSequences === 0 ? 0 : 64,
      numJoining,
    })),
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

/**
 * Runs scenes one after the other and takes the time between the engine's messages, one for each step that draws.
 * The n-th sequence of every scene begins as those before it, so that the prefix cache knows most of its prompt.
 */
class SceneRunner {
  readonly #engine: EngineLoop;
  readonly #vocabSize: number;
  /** [sequences] tokens of its prompt that were computed. */
  readonly #numKnown: number[] = [];
  #nextHandle = 0;
  #msPerToken = 0;

  constructor(engine: EngineLoop) {
    this.#engine = engine;
    this.#vocabSize = engine.info.vocabSize;
  }

  /** By what a token took in the scene before; high rather than low, since scenes grow. */
  estimateMs(scene: Scene): number {
    return this.#numTokens(scene) * this.#msPerToken;
  }

  /** What the scene's steps took: decode steps, or those in which a prompt joins. */
  async run(scene: Scene): Promise<MeasuredStep[]> {
    const numTokens = this.#numTokens(scene);
    const startMs = performance.now();
    const steps = await this.#watch(scene);
    this.#msPerToken = (performance.now() - startMs) / numTokens;
    return steps;
  }

  #numTokens({ numSequences, numPromptTokens, numJoining }: Scene): number {
    let numTokens = numSequences * numDecodeSteps + numJoining;
    for (let index = 0; index < numSequences; index += 1)
      numTokens += Math.max(0, numPromptTokens - (this.#numKnown[index] ?? 0));
    return numTokens;
  }

  #watch(scene: Scene): Promise<MeasuredStep[]> {
    const watch = new SceneWatch(scene, {
      decode: (index) => this.#submitKnown(index, scene.numPromptTokens),
      join: () => this.#submit(this.#nextHandle + joinSeed, scene.numJoining, 1),
    });
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

  #submitKnown(index: number, numTokens: number): number {
    this.#numKnown[index] = Math.max(numTokens, this.#numKnown[index] ?? 0);
    return this.#submit(index, numTokens, numDecodeSteps + 1);
  }

  /** Hands in a prompt of random tokens; returns its handle. Prompts of one seed begin alike. */
  #submit(seed: number, numTokens: number, maxTokens: number): number {
    const handle = this.#nextHandle;
    this.#nextHandle += 1;
    const random = randomTokens(seed, this.#vocabSize);
    this.#engine.generate(handle, {
      requestId: String(handle),
      promptTokenIds: Int32Array.from({ length: numTokens }, random),
      sampling: { ...defaultSampling, maxTokens, temperature: 0, ignoreEos: true },
    });
    return handle;
  }
}

/** Beyond the seeds of the sequences that decode: a prompt that joins is new each time. */
const joinSeed = 1000;

/** A linear congruential generator (Numerical Recipes, 32 bits), high bits: the same tokens for the same seed. */
function randomTokens(seed: number, vocabSize: number): () => number {
  let state = Math.imul(seed + 1, 0x9e3779b1) >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * vocabSize);
  };
}

interface Submissions {
  /** Hands in the prompt of a sequence that decodes; returns its handle. */
  decode(index: number): number;
  /** Hands in the prompt that joins; returns its handle. */
  join(): number;
}

/** Follows one scene: knows from the messages what each step was made of. */
class SceneWatch {
  readonly steps: MeasuredStep[] = [];
  readonly #scene: Scene;
  readonly #submit: Submissions;
  /** Tokens of each open sequence, drawn ones included. */
  readonly #lengths = new Map<number, number>();
  #joining = -1;
  #isDecoding = false;
  #lastMs = 0;

  constructor(scene: Scene, submit: Submissions) {
    this.#scene = scene;
    this.#submit = submit;
  }

  start(nowMs: number): void {
    const { numSequences, numPromptTokens } = this.#scene;
    this.#lastMs = nowMs;
    for (let index = 0; index < numSequences; index += 1)
      this.#lengths.set(this.#submit.decode(index), numPromptTokens);
    if (numSequences === 0) this.#join();
  }

  /** True once the scene is over. */
  receive(message: StepMessage, nowMs: number): boolean {
    const [failure] = message.failures;
    if (failure !== undefined) throw failure.error;
    const shape = emptyShape();
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
    const isRequest = this.#scene.numSequences === 0;
    const isWanted = hasJoined === this.#scene.numJoining > 0;
    if (isWhole && isWanted && (this.#isDecoding || isRequest))
      this.steps.push({ shape, timeMs: nowMs - this.#lastMs, isRequest });
    for (const handle of ended) this.#lengths.delete(handle);
    if (isWhole && this.#isDecoding && this.#joining === -1 && this.#scene.numJoining > 0) this.#join();
    this.#isDecoding = isWhole;
    this.#lastMs = nowMs;
    return this.#lengths.size === 0;
  }

  #join(): void {
    this.#joining = this.#submit.join();
    this.#lengths.set(this.#joining, this.#scene.numJoining);
  }
}
