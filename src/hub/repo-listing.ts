import { datasetInfo, HubApiError, listFiles, modelInfo } from "@huggingface/hub";
import { isMillraceError, MillraceError } from "../base/errors.ts";
import { hubFetch, refusalOf, unreachable } from "./hub-request.ts";
import type { HubSettings } from "./hub-settings.ts";
import type { RepoId } from "./repo-id.ts";

/** A file of a repository. */
export interface RepoFile {
  /** With forward slashes, below the repository. */
  readonly path: string;
  readonly sizeBytes: number;
  /** sha256 of the content of a large file (LFS, Xet), or sha1 of git's blob of a small one. */
  readonly digest: { readonly algorithm: "sha256" | "git-sha1"; readonly hex: string };
}

/** What a repository holds at one commit. */
export interface RepoListing<Id extends RepoId = RepoId> {
  readonly id: Id;
  readonly commit: string;
  /** "apache-2.0"; null where the repository names none. */
  readonly license: string | null;
  readonly isGated: boolean;
  readonly files: readonly RepoFile[];
}

/** Throws `hub_unreachable`, `hub_not_found`, `hub_forbidden`, or `hub_damaged` for an answer that makes no sense. */
export async function listRepo<Id extends RepoId>(settings: HubSettings, id: Id): Promise<RepoListing<Id>> {
  const request = { hubUrl: settings.endpoint, fetch: hubFetch(settings) };
  try {
    const fields: ("sha" | "cardData" | "tags")[] = ["sha", "cardData", "tags"];
    const asked = { ...request, name: id.repo, revision: id.revision, additionalFields: fields };
    const info = id.type === "model" ? await modelInfo(asked) : await datasetInfo(asked);
    const commit = info.sha;
    if (typeof commit !== "string" || !/^[0-9a-f]{40}$/.test(commit)) throw damaged(settings, "no commit");
    const files: RepoFile[] = [];
    const repo = { type: id.type, name: id.repo };
    for await (const entry of listFiles({ ...request, repo, revision: commit, recursive: true })) {
      if (entry.type === "file") files.push(toFile(settings, entry));
    }
    return { id, commit, license: licenseOf(info), isGated: info.gated !== false, files };
  } catch (error) {
    throw toHubError(settings, id, error);
  }
}

function toFile(
  settings: HubSettings,
  entry: {
    readonly path: string;
    readonly size: number;
    readonly oid?: string;
    readonly lfs?: { readonly oid: string; readonly size: number };
  },
): RepoFile {
  const { path, size, oid, lfs } = entry;
  const parts = path.split("/");
  if (path.includes("\\") || path.includes("\0") || parts.some((part) => ["", ".", ".."].includes(part)))
    throw damaged(settings, `a file called ${JSON.stringify(path).slice(0, 80)}`);
  const digest =
    lfs === undefined
      ? ({ algorithm: "git-sha1", hex: oid ?? "" } as const)
      : ({ algorithm: "sha256", hex: lfs.oid } as const);
  const length = lfs === undefined ? 40 : 64;
  if (!new RegExp(`^[0-9a-f]{${length}}$`).test(digest.hex)) throw damaged(settings, `no digest of ${path}`);
  return { path, sizeBytes: lfs?.size ?? size, digest };
}

/** From the model card, or the tag that the hub makes of it. */
function licenseOf(info: { readonly cardData?: unknown; readonly tags?: readonly string[] }): string | null {
  const card = info.cardData as { readonly license?: unknown; readonly license_name?: unknown } | undefined;
  const named = [card?.license_name, card?.license].find((value) => typeof value === "string");
  if (typeof named === "string") return named;
  return info.tags?.find((tag) => tag.startsWith("license:"))?.slice("license:".length) ?? null;
}

function toHubError(settings: HubSettings, id: RepoId, error: unknown): unknown {
  if (isMillraceError(error)) return error;
  if (error instanceof HubApiError) {
    // Not its message, which holds the address and all that was asked for.
    const said = JSON.stringify(error.data ?? {});
    const code = /gated|restricted/i.test(said)
      ? "GatedRepo"
      : /revision/i.test(said)
        ? "RevisionNotFound"
        : null;
    return refusalOf(settings, id, error.statusCode, code);
  }
  if (error instanceof SyntaxError) return damaged(settings, "no JSON");
  return unreachable(settings.endpoint, error);
}

function damaged({ endpoint }: HubSettings, what: string): MillraceError {
  return new MillraceError(
    "hub_damaged",
    `${endpoint} gave ${what} in its list of files. Check HF_ENDPOINT: it must be a Hugging Face hub or a mirror of one.`,
  );
}
