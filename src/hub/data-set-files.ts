import { parse } from "yaml";
import { MillraceError, messageOf } from "../base/errors.ts";
import { globMatcher } from "./glob.ts";

/** A part of a data set. */
export interface SplitId {
  /** Null for the only configuration, or the one that the data set names as its default. */
  readonly config: string | null;
  readonly split: string;
}

/** Names of files, below the repository. */
export interface RepoNames {
  /** "ORG/NAME", for errors. */
  readonly repo: string;
  readonly names: readonly string[];
}

/** Paths of files by split. */
type Splits = ReadonlyMap<string, readonly string[]>;

/**
 * The files of a split, as Python's `datasets` finds them: by the `configs` of the data set's card, or else by names of
 * files and folders. Null where the rows are made by a script, and files of rows are not in the repository.
 *
 * @param card text of README.md, or null
 * Throws `hub_not_found` for a configuration or split that is not there, `hub_damaged` for a card that is none.
 */
export function findSplitFiles(
  { repo, names }: RepoNames,
  card: string | null,
  { config, split }: SplitId,
): readonly string[] | null {
  const configs = readConfigs(repo, card);
  if (configs.length === 0) {
    const script = `${repo.split("/").at(-1)}.py`;
    if (names.includes(script)) return null;
    if (config !== null && config !== "default") throw absent(repo, `configuration "${config}"`, ["default"]);
    return filesOf(guessSplits(names), repo, split);
  }
  const chosen = chooseConfig(repo, configs, config);
  return filesOf(splitsOfConfig(chosen, names), repo, split);
}

/** The same in the branch `refs/convert/parquet`, which the hub makes of every data set: CONFIG/SPLIT/0000.parquet. */
export function findConvertedFiles(
  { repo, names }: RepoNames,
  { config, split }: SplitId,
): readonly string[] {
  const found = new Map<string, Map<string, string[]>>();
  for (const name of names) {
    const [, each = "", part = ""] = /^([^/]+)\/([^/]+)\/[^/]+\.parquet$/.exec(name) ?? [];
    if (each === "") continue;
    const splits = found.get(each) ?? new Map<string, string[]>();
    found.set(each, splits.set(part, [...(splits.get(part) ?? []), name]));
  }
  const all = [...found.keys()];
  const only = found.size === 1 ? all[0]! : "default";
  const splits = found.get(config ?? only);
  if (splits === undefined) throw absent(repo, `configuration "${config ?? only}"`, all);
  return filesOf(splits, repo, split);
}

function filesOf(splits: Splits, repo: string, split: string): readonly string[] {
  const files = splits.get(split);
  if (files === undefined) throw absent(repo, `split "${split}"`, [...splits.keys()]);
  return files.toSorted();
}

function absent(repo: string, what: string, there: readonly string[]): MillraceError {
  const listed = there.length === 0 ? "no file of rows" : there.slice(0, 20).join(", ");
  return new MillraceError(
    "hub_not_found",
    `The data set ${repo} has no ${what}. It has ${listed}. Correct the task's dataset_name or split, or name another revision.`,
  );
}

/** A configuration of a card, as far as it says where files are. */
interface CardConfig {
  readonly name: string;
  readonly isDefault: boolean;
  readonly dataDir: string | null;
  /** Patterns by split; null where names of files say it. */
  readonly patterns: ReadonlyMap<string, readonly string[]> | null;
}

function readConfigs(repo: string, card: string | null): CardConfig[] {
  const [, header] = /^---\r?\n([\s\S]*?)\r?\n---/.exec(card ?? "") ?? [];
  if (header === undefined) return [];
  let fields: unknown;
  try {
    fields = parse(header, { logLevel: "error" });
  } catch (error) {
    throw damagedCard(repo, messageOf(error).split("\n")[0]!, error);
  }
  const configs = isObject(fields) ? (fields["configs"] ?? []) : [];
  if (!Array.isArray(configs)) throw damagedCard(repo, "its configs are no list");
  return configs.map((each: unknown) => readConfig(repo, each));
}

function readConfig(repo: string, value: unknown): CardConfig {
  const { config_name: name, default: isDefault, data_dir: dataDir, data_files: files } = toObject(value);
  if (typeof name !== "string") throw damagedCard(repo, "a configuration has no name");
  return {
    name,
    isDefault: isDefault === true,
    dataDir: typeof dataDir === "string" ? dataDir.replace(/^\.\/|\/+$/g, "") : null,
    patterns: files === undefined || files === null ? null : readPatterns(repo, files),
  };
}

/** A pattern, several, or several for each split; those without a split are "train". */
function readPatterns(repo: string, files: unknown): ReadonlyMap<string, readonly string[]> {
  const patterns = new Map<string, readonly string[]>();
  for (const each of Array.isArray(files) ? (files as unknown[]) : [files]) {
    const { split = "train", path = each } = toObject(each);
    const paths = Array.isArray(path) ? (path as unknown[]) : [path];
    if (typeof split !== "string" || !paths.every((one) => typeof one === "string"))
      throw damagedCard(repo, "data_files of a configuration are no paths");
    patterns.set(split, [...(patterns.get(split) ?? []), ...paths]);
  }
  return patterns;
}

function chooseConfig(repo: string, configs: readonly CardConfig[], wanted: string | null): CardConfig {
  const [only] = configs.length === 1 ? configs : [];
  const usual = configs.find(({ isDefault }) => isDefault) ?? configs.find(({ name }) => name === "default");
  const chosen = wanted === null ? (usual ?? only) : configs.find(({ name }) => name === wanted);
  if (chosen !== undefined) return chosen;
  const names = configs.map(({ name }) => name);
  throw absent(
    repo,
    wanted === null ? "configuration that is its default" : `configuration "${wanted}"`,
    names,
  );
}

function splitsOfConfig({ dataDir, patterns }: CardConfig, names: readonly string[]): Splits {
  const prefix = dataDir === null || dataDir === "" ? "" : `${dataDir}/`;
  const below = names.filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length));
  const splits = patterns === null ? guessSplits(below) : matchSplits(patterns, below);
  return new Map(Array.from(splits, ([split, files]) => [split, files.map((name) => prefix + name)]));
}

function matchSplits(patterns: ReadonlyMap<string, readonly string[]>, names: readonly string[]): Splits {
  const splits = new Map<string, readonly string[]>();
  for (const [split, globs] of patterns) {
    const matchers = globs.map((glob) => globMatcher(glob.replace(/^\.\//, "")));
    const files = names.filter((name) => matchers.some((matches) => matches(name)));
    if (files.length > 0) splits.set(split, files);
  }
  return splits;
}

/** What `datasets` looks for in the names of folders, then of files, where a card says nothing. */
const splitWords: Readonly<Record<string, string>> = {
  train: "train|training",
  validation: "validation|valid|dev|val",
  test: "test|testing|eval|evaluation",
};
const notRows = new Set(
  "README.md config.json dataset_info.json dataset_infos.json dataset_dict.json dummy_data.zip".split(" "),
);

/** A file of rows by its ending. */
const rowFile = /\.(parquet|jsonl?|ndjson|csv)(\.gz)?$/;

function guessSplits(names: readonly string[]): Splits {
  const files = names.filter((name) => {
    const parts = name.split("/");
    const isHidden = parts.some((part) => part.startsWith(".") || part.startsWith("__"));
    return rowFile.test(name) && !isHidden && !notRows.has(parts.at(-1)!);
  });
  const sharded = groupBy(files, (name) => /^data\/([^/]+)-\d{5}-of-\d{5}[^/]*\.[^/]*$/.exec(name)?.[1]);
  if (sharded.size > 0) return sharded;
  const edge = "[-._ 0-9]";
  for (const ending of [`(${edge}[^/]*)?/.+`, `(${edge}[^/]*)$`]) {
    const splits = new Map<string, readonly string[]>();
    for (const [split, words] of Object.entries(splitWords)) {
      const expression = new RegExp(`(^|/)([^/]*${edge})?(${words})${ending}`);
      const found = files.filter((name) => expression.test(name));
      if (found.length > 0) splits.set(split, found);
    }
    if (splits.size > 0) return splits;
  }
  return files.length === 0 ? new Map() : new Map([["train", files]]);
}

function groupBy(names: readonly string[], keyOf: (name: string) => string | undefined): Splits {
  const groups = new Map<string, string[]>();
  for (const name of names) {
    const key = keyOf(name);
    if (key !== undefined) groups.set(key, [...(groups.get(key) ?? []), name]);
  }
  return groups;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function toObject(value: unknown): Readonly<Record<string, unknown>> {
  return isObject(value) ? value : {};
}

function damagedCard(repo: string, what: string, cause?: unknown): MillraceError {
  return new MillraceError(
    "hub_damaged",
    `The card (README.md) of the data set ${repo} cannot be read: ${what}. Name another revision, or give the data with --data FOLDER.`,
    { cause },
  );
}
