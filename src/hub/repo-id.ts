/** A repository of a hub at a revision. */
export interface RepoId {
  readonly type: "model" | "dataset";
  /** "ORG/NAME"; old data sets have a name only. */
  readonly repo: string;
  /** Branch, tag or commit. */
  readonly revision: string;
}

export const defaultRevision = "main";

/** Whether a text keeps the hub's rules for names: letters, digits, `-`, `_` and `.`. */
export function isRepoName(text: string): boolean {
  return /^\w[\w.-]*(\/\w[\w.-]*)?$/.test(text) && !/--|\.\.|[.-]$|\.git$/.test(text) && text.length <= 96;
}

/** Branches and tags may have slashes. */
export function isRevision(text: string): boolean {
  return /^\w[\w./-]*$/.test(text) && !/\.\.|\/$|\/\//.test(text);
}

/** As people write it: the revision where it is not the usual one. */
export function showRepoId({ repo, revision }: RepoId): string {
  return repo + (revision === defaultRevision ? "" : `@${revision}`);
}

/** Its place on the hub, as in the address of its page. */
export function repoPath({ type, repo }: Pick<RepoId, "type" | "repo">): string {
  return type === "model" ? repo : `datasets/${repo}`;
}
