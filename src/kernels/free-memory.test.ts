import { expect, test } from "vitest";
import { freeMemoryBytes } from "./free-memory.ts";

const system = (files: Record<string, string>) => ({ read: (path: string) => files[path] });
const meminfo = { "/proc/meminfo": "MemTotal:       1000 kB\nMemAvailable:    800 kB\n" };
const kib = 1024;

test("is what the system has available where nothing limits the process", () => {
  expect(freeMemoryBytes(system(meminfo))).toBe(800 * kib);
  const unlimited = {
    "/sys/fs/cgroup/memory.max": "max\n",
    "/sys/fs/cgroup/memory.current": "5\n",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
    "/sys/fs/cgroup/memory/memory.usage_in_bytes": "4096\n",
  };
  expect(freeMemoryBytes(system({ ...meminfo, ...unlimited }))).toBe(800 * kib);
});

test("is no more than the tightest control group leaves, idle file pages counted as free", () => {
  const groups = {
    "/proc/self/cgroup": "0::/outer/inner\n",
    "/sys/fs/cgroup/outer/inner/memory.max": "max\n",
    "/sys/fs/cgroup/outer/inner/memory.high": `${700 * kib}\n`,
    "/sys/fs/cgroup/outer/inner/memory.current": `${100 * kib}\n`,
    "/sys/fs/cgroup/outer/memory.max": `${500 * kib}\n`,
    "/sys/fs/cgroup/outer/memory.current": `${300 * kib}\n`,
    "/sys/fs/cgroup/outer/memory.stat": `anon 1\nactive_file 3\ninactive_file ${50 * kib}\n`,
  };
  expect(freeMemoryBytes(system({ ...meminfo, ...groups }))).toBe(250 * kib);
  const looser = { ...groups, "/sys/fs/cgroup/outer/memory.max": `${5000 * kib}\n` };
  expect(freeMemoryBytes(system({ ...meminfo, ...looser }))).toBe(600 * kib);
});

test("reads control groups of version 1, and is never negative", () => {
  const group = {
    "/sys/fs/cgroup/memory/memory.limit_in_bytes": `${400 * kib}\n`,
    "/sys/fs/cgroup/memory/memory.usage_in_bytes": `${300 * kib}\n`,
    "/sys/fs/cgroup/memory/memory.stat": `cache 7\ntotal_inactive_file ${20 * kib}\n`,
  };
  expect(freeMemoryBytes(system({ ...meminfo, ...group }))).toBe(120 * kib);
  const over = { ...group, "/sys/fs/cgroup/memory/memory.limit_in_bytes": "1\n" };
  expect(freeMemoryBytes(system({ ...meminfo, ...over }))).toBe(0);
});

test("falls back to what Node.js knows, and is above zero here", () => {
  expect(freeMemoryBytes(system({}))).toBeGreaterThan(0);
  expect(freeMemoryBytes()).toBeGreaterThan(0);
});
