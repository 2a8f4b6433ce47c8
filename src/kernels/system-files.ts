import { readFileSync } from "node:fs";

/** Where the operating system tells of processors and memory; tests give a recorded one. */
export interface SystemFiles {
  /** Text of a file, or undefined where there is none. */
  read(path: string): string | undefined;
}

export const linuxFiles: SystemFiles = {
  read(path) {
    try {
      return readFileSync(path, "utf8");
    } catch (error) {
      // Absent on other systems and in some containers: there is then no such limit to read.
      const code = (error as NodeJS.ErrnoException).code;
      if (code === "ENOENT" || code === "EACCES" || code === "EINVAL" || code === "ENOTDIR") return undefined;
      throw error;
    }
  },
};

/** Folders of the process's control groups (version 2), from its own to the root. */
export function cgroupFolders(files: SystemFiles): string[] {
  const own = files.read("/proc/self/cgroup") ?? "";
  let folder = /^0::(.*)$/m.exec(own)?.[1] ?? "/";
  const folders: string[] = [];
  while (folder !== "/" && folder !== "") {
    folders.push(`/sys/fs/cgroup${folder}`);
    folder = folder.slice(0, folder.lastIndexOf("/"));
  }
  return [...folders, "/sys/fs/cgroup"];
}
