import { readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { MillraceError } from "./errors.ts";
import { asWriteFaults, makeFolder } from "./write-file.ts";

/** Holds the id of the process that writes. */
export const folderLockName = ".millrace-lock";

/** A folder that this process alone writes. */
export interface FolderLock {
  release(): void;
}

/**
 * Takes a folder for this process, and makes it when needed: two runs in one folder would take each other's files for
 * their own. The lock of a process that is gone does not count. Throws `output_exists`, naming the process that holds
 * it, and `output_unwritable`.
 */
export function lockFolder(folder: string): FolderLock {
  const lockPath = path.join(folder, folderLockName);
  makeFolder(folder);
  asWriteFaults(folder, () => {
    if (create(lockPath)) return;
    refuseHeld(folder, lockPath);
    rmSync(lockPath, { force: true });
    // Of two that found it so, one makes it anew.
    if (!create(lockPath)) refuseHeld(folder, lockPath);
  });
  return { release: () => rmSync(lockPath, { force: true }) };
}

/** Whether the lock was not there. */
function create(lockPath: string): boolean {
  try {
    writeFileSync(lockPath, String(process.pid), { flag: "wx" });
    return true;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "EEXIST") return false;
    throw error;
  }
}

function refuseHeld(folder: string, lockPath: string): void {
  const owner = Number(readFileSync(lockPath, "utf8"));
  if (!(owner > 0) || owner === process.pid || !isRunning(owner)) return;
  throw new MillraceError(
    "output_exists",
    `${folder} is being written by process ${owner}. One run at a time can write it. Wait for that one, choose another --out, or remove ${lockPath} if process ${owner} is no run of this program.`,
    { param: "--out" },
  );
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    // Of another user.
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}
