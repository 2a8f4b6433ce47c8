import { isDeepStrictEqual } from "node:util";
import { MillraceError } from "../../base/errors.ts";
import type { Row } from "../row-reader.ts";
import type { Question, Shot, Task } from "../task.ts";
import { PythonRandom } from "./python-random.ts";

/** lm-eval's seed of the generator that draws shots. */
export const fewshotSeed = 1234;

/** Gives the shots of one document after the other. */
export type ShotSource = (question: { readonly doc: Question["doc"] }) => readonly Shot[];

/** Where shots come from besides the task's definition. */
export interface ShotFiles {
  /** The questions of a split, in file order. */
  questions(split: string): readonly Question[];
  /** The shots of the task's own file. */
  listed(): readonly Shot[];
}

/**
 * The shots of a task. Drawn ones depend on how many documents came before, so ask in the order of the documents.
 * Throws `invalid_option` where the task has not as many, or fixes another number.
 */
export function createShotSource(task: Task, wanted: number | null, files: ShotFiles): ShotSource {
  const { fewshot } = task;
  const count = numShots(task, wanted);
  if (count === 0 || fewshot.from === "none") return () => [];
  if (fewshot.from === "list") return firstOf(task, fewshot.shots, count);
  if (fewshot.from === "file") return firstOf(task, files.listed(), count);
  const pool = files.questions(fewshot.split);
  const drops = fewshot.dropsOwnRow === true;
  if (fewshot.choice === "first" && !drops) return firstOf(task, pool, count);
  const numDrawn = count + (drops ? 1 : 0);
  if (pool.length < numDrawn) throw tooFew(task, count, pool.length);
  const others = (doc: Row, rows: readonly Question[]): Question[] =>
    rows.filter((shot) => !isDeepStrictEqual(shot.doc, doc));
  if (fewshot.choice === "first") return ({ doc }) => others(doc, pool).slice(0, count);
  const random = new PythonRandom(fewshotSeed);
  return ({ doc }) => {
    const drawn = random.sample(pool, numDrawn);
    if (!drops) return drawn;
    const kept = others(doc, drawn).slice(0, count);
    // A row that the pool holds several times can be drawn twice; then lm-eval draws again without its copies.
    return kept.length === count ? kept : random.sample(others(doc, pool), count);
  };
}

/** How many shots a task has. Throws `invalid_option` where the user's number is not for this task. */
export function numShots({ name, fewshot }: Task, wanted: number | null): number {
  if (wanted === null || wanted === fewshot.count) return fewshot.count;
  if (fewshot.from === "none" || fewshot.isFixed === true) {
    throw new MillraceError(
      "invalid_option",
      `Task ${name} always has ${fewshot.count} shots, and ${wanted} were asked for. Leave it out of --num-fewshot.`,
      { param: "--num-fewshot" },
    );
  }
  return wanted;
}

function firstOf(task: Task, shots: readonly Shot[], count: number): ShotSource {
  if (shots.length < count) throw tooFew(task, count, shots.length);
  const first = shots.slice(0, count);
  return () => first;
}

function tooFew(task: Task, count: number, have: number): MillraceError {
  return new MillraceError(
    "invalid_option",
    `Task ${task.name} was asked for ${count} shots; its source has ${have}. Ask for fewer with --num-fewshot.`,
    { param: "--num-fewshot" },
  );
}
