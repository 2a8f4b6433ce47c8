import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmdirSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import path from "node:path";
import { MillraceError } from "../../base/errors.ts";
import type { CodeRunner, ProgramOutcome } from "./code-runner.ts";
import { inTurns } from "./in-turns.ts";

export interface SandboxLimits {
  /** Wall-clock time of one program. */
  readonly timeoutMs: number;
  readonly memoryBytes: number;
  /** Largest file, and all files together, that a program may write. */
  readonly fileBytes: number;
}

/** lm-eval gives each program three seconds. */
export const defaultSandboxLimits: SandboxLimits = {
  timeoutMs: 3000,
  memoryBytes: 1024 ** 3,
  fileBytes: 16 * 1024 ** 2,
};

const maxOutputBytes = 64 * 1024;

/** Whether a sandbox can be made is no question of how busy the machine is. */
const probeTimeoutMs = 30_000;

/**
 * Builds the world of one program and runs it there: namespaces of its own (users, processes, network without any
 * interface, mounts), a root of read-only system folders and one small writable folder, no way back to the old root,
 * no capabilities. Arguments: folder for the root, size, memory, seconds of CPU, Python, its prefix, the harness, and
 * flags of setpriv. Standard input: the program.
 *
 * The shell stays, as the first process of the namespace: the kernel ends it with `unshare`, and all others with it. A
 * process that changes its user loses that tie, so that a program in the shell's place would outlive its time.
 */
const setup = `set -e
root=$1 size=$2 memory=$3 seconds=$4 python=$5 prefix=$6 harness=$7 identity=$8
mount --make-rprivate /
mount -t tmpfs -o "size=$size,mode=755" sandbox "$root"
for folder in /usr /bin /lib /lib64 "$prefix"; do
  [ -d "$folder" ] || continue
  mkdir -p "$root$folder"
  mount --bind "$folder" "$root$folder"
  mount -o remount,bind,ro,nosuid,nodev "$root$folder"
done
mkdir -p "$root/work" "$root/old" "$root/dev" "$root/proc"
mount -t proc proc "$root/proc"
touch "$root/dev/null" && mount --bind /dev/null "$root/dev/null"
cat > "$root/work/program.py"
chmod 1777 "$root/work"
cd "$root"
pivot_root . old
cd /
umount -n -l /old
cd /work
setpriv $identity --no-new-privs --bounding-set=-all --inh-caps=-all -- \\
  prlimit --as="$memory" --cpu="$seconds" --fsize="$size" --nofile=64 --nproc=32 --core=0 -- \\
  env -i PATH=/usr/bin:/bin HOME=/work LANG=C.UTF-8 "$python" -I -B -c "$harness"
exit`;

/** Runs the program as lm-eval's code_eval does, and says the word only if it came to its end. */
const harness = (word: string): string => `
source = open("program.py", encoding="utf-8").read()
import sys
try:
    exec(compile(source, "program", "exec"), {})
except BaseException as error:
    sys.stdout.flush()
    print(f"{type(error).__name__}: {error}", file=sys.stderr)
    raise SystemExit(1)
print("\\n${word}")
`;

const namespaces = "--net --pid --ipc --uts --mount --fork --kill-child".split(" ");

/** Root becomes nobody for good, since some limits do not hold for root; others are root of their own namespace only. */
function identityOf(isRoot: boolean): { readonly unshare: readonly string[]; readonly setpriv: string } {
  return isRoot
    ? { unshare: [], setpriv: "--reuid=65534 --regid=65534 --clear-groups" }
    : { unshare: ["--user", "--map-root-user"], setpriv: "" };
}

/**
 * Runs programs in namespaces of their own (Linux, util-linux's `unshare`), as many at once as there are processors.
 * Throws `sandbox_unavailable` where the system does not let one be made, or Python is missing.
 */
export async function createSandbox(limits: SandboxLimits = defaultSandboxLimits): Promise<CodeRunner> {
  const python = await findPython();
  const patience = { ...limits, timeoutMs: Math.max(limits.timeoutMs, probeTimeoutMs) };
  const probe = await runProgram("assert sum(range(10)) == 45", python, patience);
  if (!probe.hasPassed) throw unavailable(probe.detail);
  return inTurns({ run: (program) => runProgram(program, python, limits) }, availableParallelism());
}

interface Python {
  readonly file: string;
  readonly prefix: string;
}

async function findPython(): Promise<Python> {
  const question = "import os, sys; print(os.path.realpath(sys.executable)); print(sys.base_prefix)";
  const { exitCode, stdout, stderr } = await runCommand(
    "python3",
    ["-I", "-c", question],
    "",
    probeTimeoutMs,
  );
  const [file, prefix] = stdout.trim().split("\n");
  if (exitCode !== 0 || file === undefined || prefix === undefined) throw unavailable(lastLine(stderr));
  return { file, prefix };
}

async function runProgram(program: string, python: Python, limits: SandboxLimits): Promise<ProgramOutcome> {
  const root = mkdtempSync(path.join(tmpdir(), "millrace-sandbox-"));
  const word = randomBytes(16).toString("hex");
  try {
    const { timeoutMs, memoryBytes, fileBytes } = limits;
    const seconds = Math.ceil(timeoutMs / 1000) + 1;
    const settings = [root, fileBytes, memoryBytes, seconds, python.file, python.prefix].map(String);
    const identity = identityOf(process.getuid?.() === 0);
    const script = ["/bin/sh", "-c", setup, "sandbox", ...settings, harness(word), identity.setpriv];
    const args = [...identity.unshare, ...namespaces, ...script];
    const { exitCode, stdout, stderr, isTimedOut } = await runCommand("unshare", args, program, timeoutMs);
    const hasPassed = exitCode === 0 && stdout.endsWith(`\n${word}\n`);
    if (hasPassed) return { hasPassed, detail: "passed" };
    return { hasPassed, detail: isTimedOut ? "timed out" : lastLine(stderr) || "ended early" };
  } finally {
    // The mount lies in the program's own namespace; here the folder is empty.
    rmdirSync(root);
  }
}

interface CommandResult {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly isTimedOut: boolean;
}

function runCommand(
  command: string,
  args: readonly string[],
  input: string,
  timeoutMs: number,
): Promise<CommandResult> {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      env: { PATH: process.env["PATH"] ?? "/usr/bin:/bin:/usr/sbin:/sbin" },
    });
    let isTimedOut = false;
    const timer = setTimeout(() => {
      isTimedOut = true;
      child.kill("SIGKILL");
    }, timeoutMs);
    const stdout = keepEnd(child.stdout);
    const stderr = keepEnd(child.stderr);
    const finish = (exitCode: number | null, message = ""): void => {
      clearTimeout(timer);
      resolve({ exitCode, stdout: stdout(), stderr: message || stderr(), isTimedOut });
    };
    child.on("error", (error) => finish(null, error.message));
    child.on("close", finish);
    // A program that ends before it has read its input is no fault of ours.
    child.stdin.on("error", () => {});
    child.stdin.end(input);
  });
}

/** The last part of what a stream says. */
function keepEnd(stream: NodeJS.ReadableStream): () => string {
  let kept = Buffer.alloc(0);
  stream.on("data", (chunk: Buffer) => {
    kept = Buffer.concat([kept, chunk]).subarray(-maxOutputBytes);
  });
  return () => kept.toString("utf8");
}

function lastLine(text: string): string {
  return text.trim().split("\n").at(-1) ?? "";
}

function unavailable(reason: string): MillraceError {
  return new MillraceError(
    "sandbox_unavailable",
    `No sandbox for model-written programs can be made here: ${reason || "unknown reason"}. It takes Linux with unshare, setpriv and prlimit (util-linux), user namespaces and python3. Leave the code tasks out where there are none.`,
    { param: "--allow-code-execution" },
  );
}
