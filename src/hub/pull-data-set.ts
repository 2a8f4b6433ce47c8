import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { isMillraceError, MillraceError } from "../base/errors.ts";
import { findConvertedFiles, findSplitFiles, type SplitId } from "./data-set-files.ts";
import type { HubSettings } from "./hub-settings.ts";
import { type PullOptions, pullFiles } from "./pull-files.ts";
import { snapshotFolder } from "./repo-cache.ts";
import { defaultRevision, type RepoId, showRepoId } from "./repo-id.ts";
import { listRepo, type RepoListing } from "./repo-listing.ts";

/** A data set on a hub. */
export interface DataSetId extends RepoId {
  readonly type: "dataset";
}

/** The files of a split in the cache. */
export interface SplitFiles {
  readonly commit: string;
  /** Folder of the repository's files at that commit. */
  readonly folder: string;
  /** Paths below it, in order. */
  readonly names: readonly string[];
}

const cardName = "README.md";
/** Branch in which the hub keeps every data set as Parquet files. */
const convertedRevision = "refs/convert/parquet";

/**
 * The files of splits of a data set, downloaded where they are not in the cache. What is there is taken as it is, without
 * a question to the hub. Of a data set whose rows are made by a script, the hub's conversion is taken.
 *
 * Throws `dataset_not_cached` without a network, `hub_not_found` for a configuration or split that is not there, and what
 * `listRepo` and `pullFiles` throw.
 */
export async function pullSplits(
  settings: HubSettings,
  id: DataSetId,
  splits: readonly SplitId[],
  options: PullOptions = {},
): Promise<SplitFiles[]> {
  const cached = splits.map((split) => findCachedSplit(settings, id, split));
  if (cached.every((files) => files !== null)) return cached;
  if (settings.isOffline) throw offline(settings, id);
  const source = await chooseSource(settings, id, splits, options);
  const wanted = new Set([cardName, ...source.names.flat()]);
  const files = source.listing.files.filter((file) => wanted.has(file.path));
  await pullFiles(settings, source.listing, files, options);
  const folder = snapshotFolder(settings, source.listing.id)!;
  return source.names.map((names) => ({ commit: source.listing.commit, folder, names }));
}

interface Source {
  readonly listing: RepoListing;
  /** For each split. */
  readonly names: readonly (readonly string[])[];
}

/** The repository at the wanted revision, or the hub's conversion of it where it holds no rows. */
async function chooseSource(
  settings: HubSettings,
  id: DataSetId,
  splits: readonly SplitId[],
  { signal, retryMs }: PullOptions,
): Promise<Source> {
  const listing = await listRepo(settings, id);
  // Not offered: a page of text that says which files hold what.
  const cards = listing.files.filter((file) => file.path === cardName);
  await pullFiles(settings, listing, cards, { signal, ...(retryMs === undefined ? {} : { retryMs }) });
  const card = readCard(snapshotFolder(settings, id));
  const here = { repo: id.repo, names: listing.files.map((file) => file.path) };
  const names = splits.map((split) => findSplitFiles(here, card, split));
  if (names.every((each) => each !== null)) return { listing, names };
  if (id.revision !== defaultRevision) throw scripted(id);
  const converted = await listRepo(settings, { ...id, revision: convertedRevision });
  const there = { repo: id.repo, names: converted.files.map((file) => file.path) };
  return { listing: converted, names: splits.map((split) => findConvertedFiles(there, split)) };
}

function findCachedSplit(settings: HubSettings, id: DataSetId, split: SplitId): SplitFiles | null {
  const find = (
    revision: string,
    choose: (names: readonly string[], folder: string) => readonly string[] | null,
  ) => {
    const folder = snapshotFolder(settings, { ...id, revision });
    if (folder === null) return null;
    const names = filesBelow(folder);
    const chosen = orNull(() => choose(names, folder));
    return chosen === null || !hasAllShards(chosen)
      ? null
      : { commit: path.basename(folder), folder, names: chosen };
  };
  const { repo } = id;
  const own = find(id.revision, (names, folder) => findSplitFiles({ repo, names }, readCard(folder), split));
  if (own !== null || id.revision !== defaultRevision) return own;
  // Whether a configuration is the only one cannot be seen from what is cached of it.
  const named = { ...split, config: split.config ?? "default" };
  return find(convertedRevision, (names) => findConvertedFiles({ repo, names }, named));
}

/** What is not among the cached files may be on the hub. */
function orNull<T>(find: () => T): T | null {
  try {
    return find();
  } catch (error) {
    if (isMillraceError(error) && error.code === "hub_not_found") return null;
    throw error;
  }
}

/** Python's tools link each file of a split as it comes: what their names count to must be there. */
function hasAllShards(names: readonly string[]): boolean {
  const there = new Set(names);
  return names.every((name) => {
    const [, stem = "", count = "0", rest = ""] = /^(.*-)\d{5}-of-(\d{5})(.*)$/.exec(name) ?? [];
    const shards = Array.from({ length: Number(count) }, (_, index) => String(index).padStart(5, "0"));
    return shards.every((shard) => there.has(`${stem}${shard}-of-${count}${rest}`));
  });
}

/** Links whose blob is not there yet count as absent. */
function filesBelow(folder: string): string[] {
  const names = readdirSync(folder, { recursive: true, encoding: "utf8" });
  return names.filter((name) => existsSync(path.join(folder, name)));
}

function readCard(folder: string | null): string | null {
  const file = folder === null ? null : path.join(folder, cardName);
  return file !== null && existsSync(file) ? readFileSync(file, "utf8") : null;
}

function offline({ cacheDir }: HubSettings, id: DataSetId): MillraceError {
  return new MillraceError(
    "dataset_not_cached",
    `The data set ${showRepoId(id)} is not in ${cacheDir}, or not the split that is wanted, and HF_HUB_OFFLINE is set. Unset it once, or give the data with --data FOLDER.`,
    { param: "--data" },
  );
}

function scripted(id: DataSetId): MillraceError {
  return new MillraceError(
    "unsupported_format",
    `The data set ${showRepoId(id)} makes its rows by a Python script, and there is none here. Leave its revision out, so that the hub's Parquet files of it are taken, or give the data with --data FOLDER.`,
  );
}
