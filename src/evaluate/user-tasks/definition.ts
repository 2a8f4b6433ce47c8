import { readFileSync } from "node:fs";
import path from "node:path";
import { isMap, isNode, LineCounter, type Node, parseDocument, visit } from "yaml";
import { MillraceError, messageOf } from "../../base/errors.ts";
import { sha256 } from "../sha256.ts";

/** A key's value with the file and line where it stands. */
export interface Entry {
  readonly value: unknown;
  readonly where: string;
}

/** The keys of a task or group file, those of the files that it includes among them. */
export interface Definition {
  readonly file: string;
  readonly entries: ReadonlyMap<string, Entry>;
  /** sha256 over the texts of all files that went in. */
  readonly hash: string;
}

/**
 * Reads a definition in lm-eval's YAML. `include` names files whose keys come first; later ones and the file's own take
 * their place. Throws `invalid_task` with file and line for what is no YAML or wants Python, `file_not_found`.
 */
export function readDefinition(file: string, including: readonly string[] = []): Definition {
  const full = path.resolve(file);
  if (including.includes(full)) {
    throw invalidTask(full, `is included by itself, through ${including.join(", ")}`, "Take one include out");
  }
  const text = readText(full);
  const own = parseEntries(full, text);
  const entries = new Map<string, Entry>();
  let hash = sha256(text);
  for (const name of includesOf(own.get("include"))) {
    const inner = readDefinition(path.resolve(path.dirname(full), name), [...including, full]);
    for (const [key, entry] of inner.entries) entries.set(key, entry);
    hash = sha256(hash + inner.hash);
  }
  for (const [key, entry] of own) if (key !== "include") entries.set(key, entry);
  return { file: full, entries, hash };
}

/** The definition of a task that stands inside a group's. */
export function innerDefinition(
  outer: Definition,
  value: Readonly<Record<string, unknown>>,
  where: string,
): Definition {
  const entries = new Map(Object.entries(value).map(([key, each]) => [key, { value: each, where }]));
  return { file: outer.file, entries, hash: outer.hash };
}

/** A definition that cannot be used; `where` is its file, with the line where one is known. */
export function invalidTask(where: string, problem: string, remedy: string, cause?: unknown): MillraceError {
  return new MillraceError("invalid_task", `${where} ${problem}. ${remedy}.`, { param: "--tasks", cause });
}

function readText(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new MillraceError(
      "file_not_found",
      `The task file ${file} cannot be read: ${messageOf(error)}. Check its path and permissions.`,
      { param: "--tasks", cause: error },
    );
  }
}

function includesOf(entry: Entry | undefined): string[] {
  if (entry === undefined) return [];
  const names = typeof entry.value === "string" ? [entry.value] : entry.value;
  if (Array.isArray(names) && names.every((name) => typeof name === "string")) return names;
  throw invalidTask(entry.where, "includes no file", "Write include: FILE, or a list of files");
}

/** YAML 1.1, which lm-eval reads: a bare `no` is false there. */
function parseEntries(file: string, text: string): Map<string, Entry> {
  const lines = new LineCounter();
  const document = parseDocument(text, { version: "1.1", lineCounter: lines, logLevel: "silent" });
  const lineOf = (offset: number | undefined): string => `${file}:${lines.linePos(offset ?? 0).line}`;
  const [fault] = document.errors;
  if (fault !== undefined) {
    throw invalidTask(
      lineOf(fault.pos[0]),
      `is not YAML: ${fault.message.split("\n")[0]!}`,
      "Correct it",
      fault,
    );
  }
  visit(document, {
    Node: (_key, node: Node) => {
      if (node.tag?.startsWith("!") !== true) return;
      throw invalidTask(
        lineOf(node.range?.[0]),
        `calls Python with ${node.tag}, and there is none here`,
        "Say it in a template, or write the task as a JavaScript or TypeScript module",
      );
    },
  });
  if (!isMap(document.contents))
    throw invalidTask(file, "has no keys", "It takes lm-eval's task or group form");
  const entries = new Map<string, Entry>();
  for (const { key, value } of document.contents.items) {
    const start = isNode(key) ? key.range?.[0] : undefined;
    entries.set(String(key), { value: isNode(value) ? value.toJS(document) : value, where: lineOf(start) });
  }
  return entries;
}
