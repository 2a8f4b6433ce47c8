import path from "node:path";

/** Folders that say nothing of the model inside: the embedded model and the flow's results lie in such. */
const namelessFolders: ReadonlySet<string> = new Set(["model", "compressed"]);

/** A model's name for people and for the API: its file's without ending, or the nearest folder's that says something. */
export function modelNameOf(modelPath: string): string {
  const full = path.resolve(modelPath);
  const parts = full.split(path.sep).filter((part) => part !== "");
  const name = parts.findLast((part) => !namelessFolders.has(part)) ?? path.basename(full);
  return name.replace(/\.gguf$/i, "");
}
