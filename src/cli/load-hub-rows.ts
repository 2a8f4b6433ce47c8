import { readFileSync } from "node:fs";
import path from "node:path";
import type { TaskChoice } from "../evaluate/check-tasks.ts";
import {
  HubRows,
  type HubSplit,
  hubSplitsOf,
  type LoadedSplit,
  parseHubFiles,
} from "../evaluate/hub-rows.ts";
import { TaskData } from "../evaluate/task-data.ts";
import { type DataSetId, pullSplits, type SplitFiles } from "../hub/pull-data-set.ts";
import { hubSettings, withDownloadBar } from "./hub-model.ts";

/**
 * Brings the rows that tasks read from a hub: those that `--data` has not in its folder. Data sets that are not in the
 * cache are downloaded first. Throws what a download and damaged files can throw.
 */
export async function loadHubRows(choice: Omit<TaskChoice, "hubRows">, usesHub: boolean): Promise<HubRows> {
  const rows = new HubRows();
  const local = new TaskData(choice.dataDir);
  const { tasks } = choice.registry.expand(choice.tasks);
  const wanted = hubSplitsOf(tasks, choice).filter(({ task, split }) => {
    const { files } = choice.registry.find(task);
    return files.root === "hub" || (usesHub && !local.isInFolder(files, split));
  });
  for (const group of groupByRepository(wanted)) await loadGroup(group, rows);
  return rows;
}

function groupByRepository(splits: readonly HubSplit[]): HubSplit[][] {
  const groups = new Map<string, HubSplit[]>();
  for (const split of splits) {
    const key = `${split.dataSet.repo}@${split.dataSet.revision}`;
    groups.set(key, [...(groups.get(key) ?? []), split]);
  }
  return [...groups.values()];
}

/** Tasks that read the same split share its rows. */
async function loadGroup(splits: readonly HubSplit[], rows: HubRows): Promise<void> {
  const { repo, revision } = splits[0]!.dataSet;
  const id: DataSetId = { type: "dataset", repo, revision };
  const settings = hubSettings();
  const ids = splits.map(({ split, dataSet }) => ({ config: dataSet.config, split }));
  const found = await withDownloadBar(settings, (options) => pullSplits(settings, id, ids, options));
  const loaded = new Map<string, LoadedSplit>();
  for (const [index, files] of found.entries()) {
    const key = files.names.join("\n");
    const split = loaded.get(key) ?? (await readSplit(repo, files));
    loaded.set(key, split);
    rows.add(splits[index]!, split);
  }
}

function readSplit(repo: string, { commit, folder, names }: SplitFiles): Promise<LoadedSplit> {
  const files = names.map((name) => ({ name, bytes: readFileSync(path.join(folder, name)) }));
  return parseHubFiles({ repo }, commit, files);
}
