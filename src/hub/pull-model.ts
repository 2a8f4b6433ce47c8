import { MillraceError } from "../base/errors.ts";
import { findSnapshot } from "./cached-repos.ts";
import { chooseFiles } from "./choose-files.ts";
import type { HubSettings } from "./hub-settings.ts";
import { type ModelId, showModelId } from "./model-id.ts";
import { type PullOptions, pullFiles } from "./pull-files.ts";
import { listRepo } from "./repo-listing.ts";

/**
 * Brings a model into the cache, or what of it is missing, and gives the path to open: a folder, or the GGUF file that
 * was asked for. Throws `model_not_cached` without a network, what `listRepo`, `chooseFiles` and `pullFiles` throw, and
 * `invalid_model_file` for a repository whose files are no whole model.
 */
export async function pullModel(
  settings: HubSettings,
  id: ModelId,
  options: PullOptions = {},
): Promise<string> {
  if (settings.isOffline) throw offline(settings, id);
  const listing = await listRepo(settings, id);
  await pullFiles(settings, listing, chooseFiles(listing), options);
  const found = findSnapshot(settings, id);
  if (found !== null) return found;
  throw new MillraceError(
    "invalid_model_file",
    `${showModelId(id)} has weights, but no config.json beside them, or its index names files that are not there. Choose another repository or revision.`,
  );
}

function offline({ cacheDir }: HubSettings, id: ModelId): MillraceError {
  return new MillraceError(
    "model_not_cached",
    `${showModelId(id)} is not in ${cacheDir}, and HF_HUB_OFFLINE is set. Unset it and run \`millrace pull ${showModelId(id)}\`, or give the path of a model.`,
  );
}
