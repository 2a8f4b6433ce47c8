import { availableParallelism, cpus } from "node:os";
import { cgroupFolders, linuxFiles, type SystemFiles } from "./system-files.ts";

export interface ThreadPlan {
  readonly numThreads: number;
  /** Why this many, for the line printed at start. */
  readonly reason: string;
  /** NUMA nodes that have a CPU of the affinity mask; 1 where the system names none. */
  readonly numNodes: number;
}

/**
 * Threads that pay: one for each physical core within the process's affinity mask, at most the cgroup's CPU quota.
 * Sibling hardware threads share the vector units, so that a second one per core brings nothing.
 */
export function planThreads(files: SystemFiles = linuxFiles): ThreadPlan {
  const allowed = allowedCpus(files);
  const numCpus = allowed?.length ?? Math.min(availableParallelism(), cpus().length || 1);
  const cores = allowed === undefined ? numCpus : countCores(allowed, files);
  const numNodes = allowed === undefined ? 1 : countNodes(allowed, files);
  const quota = cpuQuota(files);
  if (quota !== undefined && quota < cores) {
    const numThreads = Math.max(1, Math.floor(quota));
    return { numThreads, reason: `CPU quota of ${quota} cores`, numNodes };
  }
  const reason = cores < numCpus ? `${cores} physical cores of ${numCpus} CPUs` : `${cores} CPU cores`;
  return { numThreads: Math.max(1, cores), reason, numNodes };
}

/** What to do where memory is nearer to some CPUs than to others; empty on a machine of one node. */
export function nodesNote({ numNodes }: Pick<ThreadPlan, "numNodes">): string {
  if (numNodes < 2) return "";
  return (
    `The CPUs lie on ${numNodes} NUMA nodes: weights are spread over them by the threads that pack them, and every ` +
    "step reads across. If one node has the memory for the model, `numactl --cpunodebind=0 --membind=0` keeps to it."
  );
}

/** Numbers in a list such as `0-3,8`. */
export function parseCpuList(text: string): number[] {
  const result: number[] = [];
  for (const part of text.trim().split(",")) {
    const [first, last] = part.split("-").map(Number);
    if (part === "" || first === undefined || !Number.isInteger(first)) continue;
    for (let cpu = first; cpu <= (last ?? first); cpu += 1) result.push(cpu);
  }
  return result;
}

function allowedCpus(files: SystemFiles): number[] | undefined {
  const line = /^Cpus_allowed_list:\s*(\S+)/m.exec(files.read("/proc/self/status") ?? "")?.[1];
  const list = line === undefined ? [] : parseCpuList(line);
  return list.length === 0 ? undefined : list;
}

function countNodes(allowed: readonly number[], files: SystemFiles): number {
  const nodes = parseCpuList(files.read("/sys/devices/system/node/online") ?? "");
  const own = nodes.filter((node) => {
    const cpus = parseCpuList(files.read(`/sys/devices/system/node/node${node}/cpulist`) ?? "");
    return cpus.some((cpu) => allowed.includes(cpu));
  });
  return Math.max(1, own.length);
}

function countCores(allowed: readonly number[], files: SystemFiles): number {
  const cores = new Set<string>();
  for (const cpu of allowed) {
    const siblings = files.read(`/sys/devices/system/cpu/cpu${cpu}/topology/thread_siblings_list`);
    cores.add(siblings?.trim() ?? String(cpu));
  }
  return cores.size;
}

/** The smallest quota on the way from the process's cgroup to the root, in cores. */
function cpuQuota(files: SystemFiles): number | undefined {
  const quotas: number[] = [];
  for (const folder of cgroupFolders(files)) {
    const [quota, period] = (files.read(`${folder}/cpu.max`) ?? "").trim().split(/\s+/).map(Number);
    if (quota !== undefined && period !== undefined && quota > 0 && period > 0) quotas.push(quota / period);
  }
  const quota1 = Number(files.read("/sys/fs/cgroup/cpu/cpu.cfs_quota_us") ?? "-1");
  const period1 = Number(files.read("/sys/fs/cgroup/cpu/cpu.cfs_period_us") ?? "0");
  if (quota1 > 0 && period1 > 0) quotas.push(quota1 / period1);
  return quotas.length === 0 ? undefined : Math.min(...quotas);
}
