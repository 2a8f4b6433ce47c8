import { cgroupFolders, linuxFiles, type SystemFiles } from "./system-files.ts";

/**
 * Bytes that the process may still take: what the system has to give without swapping, and no more than each control
 * group on the way to the root leaves. Cached file pages that nobody uses count as free there too, because the system
 * drops them first; without that, reading a model file would seem to cost memory.
 */
export function freeMemoryBytes(files: SystemFiles = linuxFiles): number {
  const available = /^MemAvailable:\s+(\d+) kB$/m.exec(files.read("/proc/meminfo") ?? "")?.[1];
  const ofSystem = available === undefined ? process.availableMemory() : Number(available) * 1024;
  return Math.max(0, Math.min(ofSystem, ...cgroupRooms(files)));
}

function cgroupRooms(files: SystemFiles): number[] {
  const rooms = cgroupFolders(files).flatMap((folder) =>
    ["memory.max", "memory.high"].map((limit) =>
      roomIn(files, {
        limit: `${folder}/${limit}`,
        usage: `${folder}/memory.current`,
        stat: `${folder}/memory.stat`,
        idleFiles: /^inactive_file (\d+)$/m,
      }),
    ),
  );
  const version1 = "/sys/fs/cgroup/memory";
  rooms.push(
    roomIn(files, {
      limit: `${version1}/memory.limit_in_bytes`,
      usage: `${version1}/memory.usage_in_bytes`,
      stat: `${version1}/memory.stat`,
      idleFiles: /^total_inactive_file (\d+)$/m,
    }),
  );
  return rooms.filter((room) => room !== undefined);
}

interface MemoryFiles {
  readonly limit: string;
  readonly usage: string;
  readonly stat: string;
  readonly idleFiles: RegExp;
}

/** Undefined where there is no such group, or no limit ("max"). */
function roomIn(files: SystemFiles, group: MemoryFiles): number | undefined {
  const [limit, usage] = [files.read(group.limit), files.read(group.usage)].map((text) =>
    /^\d+$/.test(text?.trim() ?? "") ? Number(text) : undefined,
  );
  if (limit === undefined || usage === undefined) return undefined;
  const idle = Number(group.idleFiles.exec(files.read(group.stat) ?? "")?.[1] ?? 0);
  return limit - Math.max(0, usage - idle);
}
