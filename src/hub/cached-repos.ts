import { existsSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import path from "node:path";
import { scanCacheDir } from "@huggingface/hub";
import { MillraceError } from "../base/errors.ts";
import { ggufNames, numPartsOf } from "./choose-files.ts";
import { toCacheFault } from "./download-blob.ts";
import type { HubSettings } from "./hub-settings.ts";
import type { ModelId } from "./model-id.ts";
import { repoFolder, snapshotFolder } from "./repo-cache.ts";
import { type RepoId, repoPath } from "./repo-id.ts";

/**
 * The path of a model that is whole in the cache, without asking the hub: a folder, or a GGUF file. Null where it is not
 * there, or where several GGUF files are and the id names none.
 */
export function findSnapshot(settings: HubSettings, id: ModelId): string | null {
  const snapshot = snapshotFolder(settings, id);
  if (snapshot === null) return null;
  return id.file === null && isWholeFolder(snapshot) ? snapshot : wholeGguf(snapshot, id.file);
}

/** Links whose blob is not there yet count as absent. */
function isWholeFolder(snapshot: string): boolean {
  const has = (name: string): boolean => existsSync(path.join(snapshot, name));
  if (!has("config.json")) return false;
  if (has("model.safetensors")) return true;
  if (!has("model.safetensors.index.json")) return false;
  return shardsOf(path.join(snapshot, "model.safetensors.index.json")).every(has);
}

/** The files that an index names; none of one that cannot be read, which whoever opens the model refuses by name. */
function shardsOf(indexFile: string): string[] {
  try {
    const index = JSON.parse(readFileSync(indexFile, "utf8")) as { readonly weight_map?: object } | null;
    return Object.values(index?.weight_map ?? {}).filter((name) => typeof name === "string");
  } catch {
    return [];
  }
}

function wholeGguf(snapshot: string, wanted: string | null): string | null {
  const names = readdirSync(snapshot, { recursive: true, encoding: "utf8" });
  const models = ggufNames(
    names.filter((name) => existsSync(path.join(snapshot, name))),
    wanted,
  );
  if (models.size !== 1) return null;
  const [files] = models.values();
  const first = files!.toSorted()[0]!;
  return files!.length === numPartsOf(first) ? path.join(snapshot, first) : null;
}

/** A repository in the cache. */
export interface CachedRepo {
  readonly type: RepoId["type"];
  /** "ORG/NAME". */
  readonly repo: string;
  /** Of all its blobs, once each. */
  readonly sizeBytes: number;
  readonly revisions: readonly { readonly commit: string; readonly refs: readonly string[] }[];
  readonly lastUsed: Date;
}

/** What is in the cache, by name; what cannot be read is told in `warnings`. */
export async function listCached(
  settings: HubSettings,
): Promise<{ readonly repos: readonly CachedRepo[]; readonly warnings: readonly string[] }> {
  if (!existsSync(settings.cacheDir)) return { repos: [], warnings: [] };
  const { repos, warnings } = await scanCacheDir(settings.cacheDir);
  const cached = repos.flatMap(({ id, revisions, lastAccessedAt }): CachedRepo[] => {
    const { type, name: repo } = id;
    if (type !== "model" && type !== "dataset") return [];
    return [
      {
        type,
        repo,
        // The library's own figure leaves out what lies in folders.
        sizeBytes: sizeOfBlobs(repoFolder(settings, { type, repo })),
        revisions: revisions.map(({ commitOid, refs }) => ({ commit: commitOid, refs })),
        lastUsed: lastAccessedAt,
      },
    ];
  });
  const byName = cached.toSorted((a, b) => (repoPath(a) < repoPath(b) ? -1 : 1));
  return { repos: byName, warnings: warnings.map(({ message }) => message) };
}

/** Removes all revisions of a repository and gives the bytes that they took. Throws `model_not_cached`, `output_unwritable`. */
export function removeCached(settings: HubSettings, id: Pick<RepoId, "type" | "repo">): number {
  const folder = repoFolder(settings, id);
  if (!existsSync(folder)) {
    throw new MillraceError(
      "model_not_cached",
      `${id.repo} is not in ${settings.cacheDir}. \`millrace list\` shows what is.`,
    );
  }
  const sizeBytes = sizeOfBlobs(folder);
  try {
    rmSync(folder, { recursive: true });
  } catch (error) {
    throw toCacheFault(folder, error);
  }
  return sizeBytes;
}

function sizeOfBlobs(folder: string): number {
  const blobs = path.join(folder, "blobs");
  const names = existsSync(blobs) ? readdirSync(blobs) : [];
  return names.reduce((sum, name) => sum + statSync(path.join(blobs, name)).size, 0);
}
