import { defaultRevision, isRepoName, isRevision, type RepoId, showRepoId } from "./repo-id.ts";

/** A model on a hub, as people write it: `ORG/NAME`, `ORG/NAME@REVISION`, `ORG/NAME:Q4_K_M`, or all three. */
export interface ModelId extends RepoId {
  readonly type: "model";
  /** Part of the name of the GGUF file that is meant, or null. */
  readonly file: string | null;
}

const pattern = /^([\w.-]+\/[\w.-]+)(?:@([\w./-]+))?(?::([\w.-]+))?$/;

/** Null for what cannot be a model's id. */
export function parseModelId(text: string): ModelId | null {
  const [, repo, revision = defaultRevision, file = null] = pattern.exec(text) ?? [];
  if (repo === undefined || !isRepoName(repo) || !isRevision(revision)) return null;
  return { type: "model", repo, revision, file };
}

export function showModelId(id: ModelId): string {
  return showRepoId(id) + (id.file === null ? "" : `:${id.file}`);
}
