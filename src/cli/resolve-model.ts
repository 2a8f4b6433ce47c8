import { existsSync } from "node:fs";
import os from "node:os";
import type { Command } from "commander";
import { formatBytes } from "../base/units.ts";
import { findSnapshot } from "../hub/cached-repos.ts";
import { type HubSettings, hubSettingsOf } from "../hub/hub-settings.ts";
import { type ModelId, parseModelId } from "../hub/model-id.ts";
import type { Offer, PullOptions } from "../hub/pull-files.ts";
import { pullModel } from "../hub/pull-model.ts";
import { showRepoId } from "../hub/repo-id.ts";
import { listenForInterrupt } from "./interrupt.ts";
import { printNote, TerminalProgress } from "./terminal.ts";

/** Help of an argument that `resolveModel` reads. */
export const modelHelp =
  "a model folder, a GGUF file or a hub id: ORG/NAME, with @REVISION or :GGUF where needed";

export function hubSettings(): HubSettings {
  return hubSettingsOf(process.env, os.homedir());
}

/**
 * The path of a model that is given as a path or as a hub id. What is on disk under that name comes first; then the
 * cache, in which a whole model is taken as it is; then the hub, whose licence and size are told before anything is
 * downloaded. What is neither a path nor an id is given back, for whoever opens it to refuse.
 */
export async function resolveModel(given: string): Promise<string> {
  const id = existsSync(given) ? null : parseModelId(given);
  if (id === null) return given;
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

/**
 * Adds an argument that is a model. The command's action gets the path that `resolveModel` gives; so it is with
 * --spec-model.
 */
export function addModelArgument(command: Command, name = "<model>", help = modelHelp): Command {
  const index = command.registeredArguments.length;
  return command.argument(name, help).hook("preAction", async (_program, running) => {
    const given: unknown = running.processedArgs[index];
    if (typeof given === "string") running.processedArgs[index] = await resolveModel(given);
    const draft: unknown = running.opts()["specModel"];
    if (typeof draft === "string") running.setOptionValue("specModel", await resolveModel(draft));
  });
}
