import { createHash, type Hash } from "node:crypto";
import { createReadStream } from "node:fs";
import { type FileHandle, open, rename, rm, stat } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { isMillraceError, MillraceError, messageOf } from "../base/errors.ts";
import { hubFetch, refusalOf, unreachable } from "./hub-request.ts";
import type { HubSettings } from "./hub-settings.ts";
import { type RepoId, repoPath } from "./repo-id.ts";
import type { RepoFile } from "./repo-listing.ts";

export interface BlobDownload {
  readonly settings: HubSettings;
  readonly id: RepoId;
  readonly commit: string;
  readonly file: RepoFile;
  /** Where the whole file goes; its beginning lies in `<blobPath>.incomplete` until then, as Python's tools have it. */
  readonly blobPath: string;
  /** Told how many bytes are there. */
  readonly onProgress?: (doneBytes: number) => void;
  readonly signal?: AbortSignal | undefined;
  /** Wait before the first new attempt, in milliseconds; it doubles. Default 500. */
  readonly retryMs?: number;
}

/** Attempts in a row that bring nothing new. */
const maxIdleAttempts = 5;

/**
 * Downloads a file and goes on from what an earlier try left. Its digest is checked before it gets its name; what is
 * wrong is removed. A broken connection is tried again as long as attempts bring bytes.
 *
 * Throws `hub_unreachable`, `hub_forbidden`, `hub_not_found`, `hub_damaged`, `disk_full`, `output_unwritable`, and what
 * `signal` was aborted with; what has come stays for the next time.
 */
export async function downloadBlob(download: BlobDownload): Promise<void> {
  const { file, blobPath, signal } = download;
  const partial = `${blobPath}.incomplete`;
  const target = await openPartial(partial, file);
  let numIdle = 0;
  try {
    while (target.sizeBytes < file.sizeBytes) {
      const before = target.sizeBytes;
      try {
        await fetchRest(download, target);
      } catch (error) {
        signal?.throwIfAborted();
        if (!isMillraceError(error) || error.code !== "hub_unreachable") throw error;
        numIdle = target.sizeBytes > before ? 0 : numIdle + 1;
        if (numIdle >= maxIdleAttempts) throw error;
        await sleep((download.retryMs ?? 500) * 2 ** numIdle, undefined, { signal });
      }
    }
    await target.handle.sync();
  } catch (error) {
    throw toCacheFault(partial, error);
  } finally {
    await target.handle.close();
  }
  const found = target.hash.digest("hex");
  if (found !== file.digest.hex) {
    await rm(partial, { force: true });
    throw new MillraceError(
      "hub_damaged",
      `${file.path} of ${download.id.repo} came with the ${file.digest.algorithm} ${found}; the hub's list says ${file.digest.hex}. It was removed. Download it again; if that happens twice, something between here and ${download.settings.endpoint} changes files.`,
    );
  }
  await rename(partial, blobPath).catch((error: unknown) => {
    throw toCacheFault(blobPath, error);
  });
}

/** The beginning of a file that is there, and the digest of it. */
interface Partial {
  readonly handle: FileHandle;
  sizeBytes: number;
  hash: Hash;
}

async function openPartial(partial: string, file: RepoFile): Promise<Partial> {
  try {
    const handle = await open(partial, "a");
    let sizeBytes = (await stat(partial)).size;
    if (sizeBytes > file.sizeBytes) {
      await handle.truncate(0);
      sizeBytes = 0;
    }
    const hash = newHash(file);
    if (sizeBytes > 0) for await (const chunk of createReadStream(partial)) hash.update(chunk as Buffer);
    return { handle, sizeBytes, hash };
  } catch (error) {
    throw toCacheFault(partial, error);
  }
}

function newHash({ digest, sizeBytes }: RepoFile): Hash {
  if (digest.algorithm === "sha256") return createHash("sha256");
  return createHash("sha1").update(`blob ${sizeBytes}\0`);
}

/** Appends what one request brings. */
async function fetchRest(download: BlobDownload, target: Partial): Promise<void> {
  const { settings, id, commit, file, signal, onProgress } = download;
  const path = file.path.split("/").map(encodeURIComponent).join("/");
  const response = await hubFetch(settings)(
    `${settings.endpoint}/${repoPath(id)}/resolve/${commit}/${path}`,
    {
      headers: { range: `bytes=${target.sizeBytes}-`, "accept-encoding": "identity" },
      ...(signal === undefined ? {} : { signal }),
    },
  );
  if (!response.ok || response.body === null) {
    await response.body?.cancel();
    throw refusalOf(settings, id, response.status, response.headers.get("x-error-code"));
  }
  if (startOf(response) !== target.sizeBytes) {
    await target.handle.truncate(0);
    target.sizeBytes = 0;
    target.hash = newHash(file);
  }
  try {
    for await (const chunk of response.body) {
      if (target.sizeBytes + chunk.length > file.sizeBytes) throw tooLong(download);
      await target.handle.appendFile(chunk);
      target.hash.update(chunk);
      target.sizeBytes += chunk.length;
      onProgress?.(target.sizeBytes);
    }
  } catch (error) {
    throw isSystemFault(error) || isMillraceError(error) ? error : unreachable(settings.endpoint, error);
  }
  if (target.sizeBytes < file.sizeBytes) {
    throw unreachable(
      settings.endpoint,
      new Error(`the connection ended ${file.sizeBytes - target.sizeBytes} bytes early`),
    );
  }
}

/** First byte of an answer: a server that knows no ranges sends the whole file. */
function startOf(response: Response): number {
  const range = /^bytes (\d+)-/.exec(response.headers.get("content-range") ?? "");
  return response.status === 206 && range !== null ? Number(range[1]) : 0;
}

function tooLong({ file, id, settings }: BlobDownload): MillraceError {
  return new MillraceError(
    "hub_damaged",
    `${file.path} of ${id.repo} is longer than the ${file.sizeBytes} bytes of the hub's list. Check ${settings.endpoint}, and download it again.`,
  );
}

function isSystemFault(error: unknown): error is Error & { readonly code: string } {
  return (
    error instanceof Error &&
    "syscall" in error &&
    !/^(read|connect|getaddrinfo)$/.test(String(error.syscall))
  );
}

const fullCodes: ReadonlySet<string> = new Set(["ENOSPC", "EDQUOT", "EFBIG"]);

/** A failure of the file system below the cache, as ours; other errors as they are. */
export function toCacheFault(target: string, error: unknown): unknown {
  if (!isSystemFault(error)) return error;
  const isFull = fullCodes.has(error.code);
  return new MillraceError(
    isFull ? "disk_full" : "output_unwritable",
    `${target} cannot be written: ${messageOf(error)}. ${isFull ? "Free some space" : "Check its permissions"}, or name another folder with HF_HUB_CACHE. What has come is kept.`,
    { cause: error },
  );
}
