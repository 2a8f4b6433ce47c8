import { createHash } from "node:crypto";
import { appendFileSync, existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { repositoryPath } from "../test-data.ts";

/** One line of a journal: a setting that passed. */
interface Passed {
  /** Of `codeFingerprint`: lines of other code say nothing. */
  readonly code: string;
  readonly model: string;
  readonly setting: string;
  readonly seed: number;
  readonly seconds: number;
}

/**
 * The settings that have passed, one JSON line each, so that a run of hours may be cut into pieces, and several
 * processes may share the work. Lines are only ever appended.
 */
export class LawJournal {
  readonly #path: string;
  readonly #code: string;
  readonly #passed = new Map<string, Passed>();
  /** By this process. */
  numAdded = 0;

  constructor(file: string, code: string) {
    this.#path = file;
    this.#code = code;
    mkdirSync(path.dirname(file), { recursive: true });
    const text = existsSync(file) ? readFileSync(file, "utf8") : "";
    for (const line of text.split("\n")) {
      const passed = readLine(line);
      if (passed?.code === code) this.#passed.set(keyOf(passed.model, passed.setting), passed);
    }
  }

  has(model: string, setting: string): boolean {
    return this.#passed.has(keyOf(model, setting));
  }

  add(passed: Omit<Passed, "code">): void {
    const line: Passed = { code: this.#code, ...passed };
    this.#passed.set(keyOf(line.model, line.setting), line);
    this.numAdded += 1;
    appendFileSync(this.#path, `${JSON.stringify(line)}\n`);
  }

  /** "240 of 2304 settings of pebble have passed, in 123 s". */
  progress(model: string, total: number): string {
    const lines = [...this.#passed.values()].filter((passed) => passed.model === model);
    const seconds = lines.reduce((sum, passed) => sum + passed.seconds, 0);
    return `${lines.length} of ${total} settings of ${model} have passed, in ${seconds.toFixed(0)} s`;
  }
}

const keyOf = (model: string, setting: string): string => `${model}: ${setting}`;

/** Null for what a killed process left of a line. */
function readLine(line: string): Passed | null {
  try {
    return JSON.parse(line) as Passed;
  } catch {
    return null;
  }
}

/** Folders and files that decide what the law is checked on, tests of other parts left out. */
const sources = ["src", "native", "tests/law", "models/pebble", "build/native"];

/** Of everything that could change an answer or what is checked of it. */
export function codeFingerprint(): string {
  const hash = createHash("sha256");
  for (const source of sources) {
    const folder = repositoryPath(source);
    const names = existsSync(folder) ? readdirSync(folder, { recursive: true, encoding: "utf8" }).sort() : [];
    for (const name of names.filter((each) => /\.(ts|cc|h|node|json|safetensors)$/.test(each)))
      if (source === "tests/law" || !name.endsWith(".test.ts"))
        hash.update(name).update(readFileSync(path.join(folder, name)));
  }
  return hash.digest("hex").slice(0, 16);
}
