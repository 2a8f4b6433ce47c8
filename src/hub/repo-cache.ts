import { existsSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import type { HubSettings } from "./hub-settings.ts";
import type { RepoId } from "./repo-id.ts";

/** Folder of a repository in the cache, as Python's huggingface_hub calls it. */
export function repoFolder(
  { cacheDir }: Pick<HubSettings, "cacheDir">,
  { type, repo }: Pick<RepoId, "type" | "repo">,
): string {
  return path.join(cacheDir, `${type}s--${repo.replace("/", "--")}`);
}

/** Folder with the files of a repository at a revision, as far as they are in the cache; null where none is. */
export function snapshotFolder(settings: HubSettings, id: RepoId): string | null {
  const folder = repoFolder(settings, id);
  const isCommit = /^[0-9a-f]{40}$/.test(id.revision);
  const commit = isCommit ? id.revision : readRef(path.join(folder, "refs", ...id.revision.split("/")));
  const snapshot = commit === null ? null : path.join(folder, "snapshots", commit);
  return snapshot !== null && existsSync(snapshot) ? snapshot : null;
}

function readRef(ref: string): string | null {
  return existsSync(ref) && statSync(ref).isFile() ? readFileSync(ref, "utf8").trim() : null;
}
