/** A model on a hub, as people write it: `ORG/NAME`, `ORG/NAME@REVISION`, `ORG/NAME:Q4_K_M`, or all three. */
export interface ModelId {
  /** "ORG/NAME". */
  readonly repo: string;
  /** Branch, tag or commit. */
  readonly revision: string;
  /** Part of the name of the GGUF file that is meant, or null. */
  readonly file: string | null;
}

export const defaultRevision = "main";

const pattern = /^([\w][\w.-]*\/[\w][\w.-]*?)(?:@([\w][\w./-]*?))?(?::([\w.-]+))?$/;

/** Null for what cannot be a model's id. Names follow the hub's rules: letters, digits, `-`, `_` and `.`. */
export function parseModelId(text: string): ModelId | null {
  const [, repo, revision = defaultRevision, file = null] = pattern.exec(text) ?? [];
  if (repo === undefined || /--|\.\./.test(repo) || /\.\.|\/$|\/\//.test(revision)) return null;
  if (repo.length > 96 || /[.-]$|\.git$/.test(repo)) return null;
  return { repo, revision, file };
}

export function showModelId({ repo, revision, file }: ModelId): string {
  return repo + (revision === defaultRevision ? "" : `@${revision}`) + (file === null ? "" : `:${file}`);
}
