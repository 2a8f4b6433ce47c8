import os from "node:os";
import { formatBytes } from "../base/units.ts";
import { findSnapshot } from "../hub/cached-repos.ts";
import { type HubSettings, hubSettingsOf } from "../hub/hub-settings.ts";
import type { ModelId } from "../hub/model-id.ts";
import type { Offer, PullOptions } from "../hub/pull-files.ts";
import { pullModel } from "../hub/pull-model.ts";
import { showRepoId } from "../hub/repo-id.ts";
import { listenForInterrupt } from "./interrupt.ts";
import { printNote, TerminalProgress } from "./terminal.ts";

export function hubSettings(): HubSettings {
  return hubSettingsOf(process.env, os.homedir());
}

/** The path of a hub's model: in the cache, in which a whole one is taken as it is, else downloaded to it. */
export async function resolveHubModel(id: ModelId): Promise<string> {
  const settings = hubSettings();
  return findSnapshot(settings, id) ?? (await download(settings, id));
}

/** Downloads a model, or what of it is missing. */
export function download(settings: HubSettings, id: ModelId): Promise<string> {
  return withDownloadBar(settings, (options) => pullModel(settings, id, options));
}

/** Runs a download with a bar, and tells its licence and size first; Ctrl-C keeps what has come. */
export async function withDownloadBar<T>(
  settings: HubSettings,
  pull: (options: PullOptions) => Promise<T>,
): Promise<T> {
  const interrupt = listenForInterrupt("What has come is kept: run the same command again to go on.");
  try {
    return await pull({
      progress: new TerminalProgress(),
      signal: interrupt.signal,
      onOffer: (offer) => printNote(offerText(settings, offer)),
    });
  } finally {
    interrupt.release();
  }
}

function offerText({ cacheDir }: HubSettings, { listing, files, sizeBytes, missingBytes }: Offer): string {
  const license = `licence ${listing.license ?? "not named"}${listing.isGated ? ", gated" : ""}`;
  const left = missingBytes === sizeBytes ? "" : `, of which ${formatBytes(missingBytes)} are missing`;
  return (
    `${showRepoId(listing.id)} at ${listing.commit.slice(0, 12)}: ${license}; ` +
    `${files.length} files, ${formatBytes(sizeBytes)}${left}, to ${cacheDir}`
  );
}
