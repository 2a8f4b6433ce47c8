import { expect, test } from "vitest";
import type { SystemFiles } from "./system-files.ts";
import { nodesNote, parseCpuList, planThreads } from "./thread-count.ts";

function system(files: Record<string, string>): SystemFiles {
  return { read: (path) => files[path] };
}

/** Four CPUs, two to a core. */
const siblings = {
  "/sys/devices/system/cpu/cpu0/topology/thread_siblings_list": "0,2\n",
  "/sys/devices/system/cpu/cpu1/topology/thread_siblings_list": "1,3\n",
  "/sys/devices/system/cpu/cpu2/topology/thread_siblings_list": "0,2\n",
  "/sys/devices/system/cpu/cpu3/topology/thread_siblings_list": "1,3\n",
};
const allowAll = { "/proc/self/status": "Name:\tnode\nCpus_allowed_list:\t0-3\n" };

test("reads lists of CPUs", () => {
  expect(parseCpuList("0-3,8\n")).toEqual([0, 1, 2, 3, 8]);
  expect(parseCpuList("5")).toEqual([5]);
  expect(parseCpuList("\n")).toEqual([]);
});

test("takes one thread for each physical core", () => {
  expect(planThreads(system({ ...allowAll, ...siblings })).numThreads).toBe(2);
});

test("stays within the affinity mask", () => {
  const files = system({ ...siblings, "/proc/self/status": "Cpus_allowed_list:\t1,3\n" });
  expect(planThreads(files).numThreads).toBe(1);
});

test("stays within the smallest quota of the nested cgroups, and takes at least one thread", () => {
  const quota = (inner: string, outer: string) =>
    planThreads(
      system({
        "/proc/self/status": "Cpus_allowed_list:\t0-15\n",
        "/proc/self/cgroup": "0::/kube/pod\n",
        "/sys/fs/cgroup/kube/pod/cpu.max": inner,
        "/sys/fs/cgroup/kube/cpu.max": outer,
      }),
    ).numThreads;
  expect(quota("max 100000", "max 100000")).toBe(16);
  expect(quota("350000 100000", "max 100000")).toBe(3);
  expect(quota("max 100000", "250000 100000")).toBe(2);
  expect(quota("50000 100000", "max 100000")).toBe(1);
});

test("reads the quota of the first version of cgroups", () => {
  const files = system({
    "/proc/self/status": "Cpus_allowed_list:\t0-7\n",
    "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000\n",
    "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
  });
  expect(planThreads(files)).toMatchObject({ numThreads: 2, reason: "CPU quota of 2 cores" });
});

test("finds at least one thread on a system without such files", () => {
  expect(planThreads(system({})).numThreads).toBeGreaterThanOrEqual(1);
});

test("counts the NUMA nodes that the affinity mask reaches, and says what to do about several", () => {
  const nodes = {
    "/sys/devices/system/node/online": "0-2\n",
    "/sys/devices/system/node/node0/cpulist": "0-1\n",
    "/sys/devices/system/node/node1/cpulist": "2-3\n",
    // Memory without processors.
    "/sys/devices/system/node/node2/cpulist": "\n",
  };
  const both = planThreads(system({ ...allowAll, ...nodes }));
  expect(both.numNodes).toBe(2);
  expect(nodesNote(both)).toMatch(/2 NUMA nodes.*numactl/);
  const one = planThreads(system({ ...nodes, "/proc/self/status": "Cpus_allowed_list:\t2-3\n" }));
  expect(one.numNodes).toBe(1);
  expect(nodesNote(one)).toBe("");
  expect(planThreads(system(allowAll)).numNodes).toBe(1);
});
