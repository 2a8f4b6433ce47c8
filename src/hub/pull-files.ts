import { existsSync, statfsSync } from "node:fs";
import { lstat, mkdir, readdir, stat, symlink, writeFile } from "node:fs/promises";
import path from "node:path";
import { MillraceError } from "../base/errors.ts";
import { type Progress, silentProgress } from "../base/progress.ts";
import { formatBytes } from "../base/units.ts";
import { downloadBlob, toCacheFault } from "./download-blob.ts";
import type { HubSettings } from "./hub-settings.ts";
import { repoFolder } from "./repo-cache.ts";
import { showRepoId } from "./repo-id.ts";
import type { RepoFile, RepoListing } from "./repo-listing.ts";

/** What a download will bring, known before it begins. */
export interface Offer {
  readonly listing: RepoListing;
  readonly files: readonly RepoFile[];
  readonly sizeBytes: number;
  /** Of them, what is not yet there. */
  readonly missingBytes: number;
}

export interface PullOptions {
  readonly progress?: Progress;
  readonly signal?: AbortSignal | undefined;
  /** Told before anything is downloaded. */
  readonly onOffer?: (offer: Offer) => void;
  readonly retryMs?: number;
  /** Free bytes of the file system that a folder is on; asks the system by default. */
  readonly freeBytesOf?: (folder: string) => number;
}

/**
 * Brings files of a repository into the cache, as far as they are missing. They are blobs under their digests, linked from
 * `snapshots/COMMIT` when all have come.
 *
 * Throws what `downloadBlob` throws, and `disk_full` before a byte is downloaded.
 */
export async function pullFiles(
  settings: HubSettings,
  listing: RepoListing,
  files: readonly RepoFile[],
  options: PullOptions = {},
): Promise<void> {
  const { id, commit } = listing;
  const folder = repoFolder(settings, id);
  const offer = { listing, files, sizeBytes: sumOf(files), missingBytes: missingBytes(folder, files) };
  options.onOffer?.(offer);
  const { progress = silentProgress, signal, retryMs, freeBytesOf = systemFreeBytes } = options;
  await prepare(folder, offer, freeBytesOf);
  for (const file of files) {
    const blobPath = path.join(folder, "blobs", file.digest.hex);
    if (!existsSync(blobPath)) {
      progress.start(file.path, file.sizeBytes);
      await downloadBlob({
        settings,
        id,
        commit,
        file,
        blobPath,
        signal,
        ...(retryMs === undefined ? {} : { retryMs }),
        onProgress: (done) => progress.update(done, formatBytes(done)),
      });
      progress.finish(`${file.path}, ${formatBytes(file.sizeBytes)}`);
    }
  }
  for (const file of files) await link(folder, commit, file);
  await writeRef(folder, id.revision, commit);
}

function sumOf(files: readonly RepoFile[]): number {
  return files.reduce((sum, file) => sum + file.sizeBytes, 0);
}

function missingBytes(folder: string, files: readonly RepoFile[]): number {
  return sumOf(files.filter(({ digest }) => !existsSync(path.join(folder, "blobs", digest.hex))));
}

function systemFreeBytes(folder: string): number {
  const { bavail, bsize } = statfsSync(folder);
  return bavail * bsize;
}

async function prepare(
  folder: string,
  { missingBytes: missing, listing }: Offer,
  freeBytesOf: (folder: string) => number,
): Promise<void> {
  const blobs = path.join(folder, "blobs");
  try {
    await mkdir(blobs, { recursive: true });
  } catch (error) {
    throw toCacheFault(blobs, error);
  }
  let there = 0;
  for (const name of await readdir(blobs)) {
    if (name.endsWith(".incomplete")) there += (await stat(path.join(blobs, name))).size;
  }
  const free = freeBytesOf(folder);
  if (free >= missing - there) return;
  throw new MillraceError(
    "disk_full",
    `${showRepoId(listing.id)} needs ${formatBytes(missing - there)} more; ${folder} has ${formatBytes(free)} free. Free some, or name another folder with HF_HUB_CACHE; nothing was downloaded.`,
  );
}

/** `snapshots/COMMIT/path` as a relative link to the blob. */
async function link(folder: string, commit: string, { path: name, digest }: RepoFile): Promise<void> {
  const place = path.join(folder, "snapshots", commit, ...name.split("/"));
  try {
    await mkdir(path.dirname(place), { recursive: true });
    const isThere = await lstat(place).then(
      () => true,
      () => false,
    );
    if (isThere) return;
    await symlink(path.relative(path.dirname(place), path.join(folder, "blobs", digest.hex)), place);
  } catch (error) {
    throw toCacheFault(place, error);
  }
}

async function writeRef(folder: string, revision: string, commit: string): Promise<void> {
  const ref = path.join(folder, "refs", ...(revision === commit ? [] : revision.split("/")));
  try {
    if (revision === commit) {
      await mkdir(ref, { recursive: true });
      return;
    }
    await mkdir(path.dirname(ref), { recursive: true });
    await writeFile(ref, commit);
  } catch (error) {
    throw toCacheFault(ref, error);
  }
}
