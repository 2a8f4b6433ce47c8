import path from "node:path";

/** Folders that say nothing of the model inside: the embedded model and the flow's results lie in such. */
const namelessFolders: ReadonlySet<string> = new Set(["model", "compressed"]);

/**
 * A model's name for people and for the API: its file's without ending, the nearest folder's that says something, or
 * the hub id of one in the cache.
 */
export function modelNameOf(modelPath: string): string {
  const full = path.resolve(modelPath);
  const cached = /[/\\]models--([^/\\]+?)--([^/\\]+)[/\\]snapshots[/\\][0-9a-f]{40}$/.exec(full);
  if (cached !== null) return `${cached[1]}/${cached[2]}`;
  const parts = full.split(path.sep).filter((part) => part !== "");
  const name = parts.findLast((part) => !namelessFolders.has(part)) ?? path.basename(full);
  return name.replace(/\.gguf$/i, "");
}
