import { MillraceError, messageOf } from "../base/errors.ts";
import type { HubSettings } from "./hub-settings.ts";
import { type RepoId, repoPath, showRepoId } from "./repo-id.ts";

/** Asks the hub, with the token where there is one. A redirect to another host does not get the token. */
export function hubFetch({ endpoint, token }: HubSettings): typeof fetch {
  return async (input, init) => {
    const headers = new Headers(init?.headers);
    headers.set("user-agent", "millrace");
    if (token !== null) headers.set("authorization", `Bearer ${token}`);
    try {
      return await fetch(input, { ...init, headers });
    } catch (error) {
      if (init?.signal?.aborted === true) throw error;
      throw unreachable(endpoint, error);
    }
  };
}

export function unreachable(endpoint: string, error: unknown): MillraceError {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
  return new MillraceError(
    "hub_unreachable",
    `${endpoint} does not answer: ${messageOf(cause)}. Check the network, or HF_ENDPOINT; with HF_HUB_OFFLINE=1 only the cache is used.`,
    { cause: error },
  );
}

/** What an answer of the hub that is no success means for a repository. */
export function refusalOf(
  settings: HubSettings,
  id: RepoId,
  status: number,
  code: string | null,
): MillraceError {
  const name = showRepoId(id);
  const where = `${settings.endpoint}/${repoPath(id)}`;
  const token = settings.token === null ? "No token was given" : "The token that was given is not enough";
  if (status === 401 && code !== "GatedRepo") {
    const hint =
      settings.token === null ? "it does not exist, or it is private" : "its token is not accepted";
    return new MillraceError(
      "hub_forbidden",
      `${name} cannot be had from ${settings.endpoint}: ${hint} (HTTP 401). ${token}. Check the name, and set HF_TOKEN to a token that may read it.`,
    );
  }
  if (status === 403 || code === "GatedRepo") {
    return new MillraceError(
      "hub_forbidden",
      `${name} is gated: its owner gives access on request (HTTP ${status}). ${token}. Ask for access at ${where}, then set HF_TOKEN to a token of the account that got it.`,
    );
  }
  if (status === 404) {
    const what = code === "RevisionNotFound" ? `has no revision ${id.revision}` : "does not exist";
    return new MillraceError(
      "hub_not_found",
      `${id.repo} ${what} on ${settings.endpoint} (HTTP 404). Check the name and the revision at ${where}.`,
    );
  }
  return new MillraceError(
    "hub_unreachable",
    `${settings.endpoint} answers with HTTP ${status} when asked for ${name}. Try again later.`,
  );
}
