import { execFileSync, spawnSync } from "node:child_process";
import os from "node:os";
import type { Command } from "commander";
import { z } from "zod";
import { packagePath } from "../../base/package-folder.ts";
import { countOf, formatBytes } from "../../base/units.ts";
import { version } from "../../base/version.ts";
import { type Component, field } from "../../config/component.ts";
import { amxNote, nativeStatus } from "../../kernels/create-ops.ts";
import { planThreads } from "../../kernels/thread-count.ts";
import { type CommandHelp, createCommand } from "../create-command.ts";
import { addSettings, readSettings } from "../settings.ts";
import { printLine } from "../terminal.ts";

const own = {
  build: field("--build", z.boolean().default(false), "build the native kernels first; needs g++ or clang++"),
  json: field("--json", z.boolean().default(false), "print one JSON object"),
} satisfies Component;

const help: CommandHelp = {
  summary: "Say what this machine offers and what is missing",
  details: `
Exit code 3 when the native kernels cannot be used: models then run on the slow reference.`,
  examples: ["millrace doctor", "millrace doctor --build"],
};

export function doctorCommand(): Command {
  const command = createCommand("doctor", help);
  return addSettings(command, own).action(runDoctor);
}

function runDoctor(_options: unknown, command: Command): void {
  const { build, json } = readSettings(command, own);
  if (build) buildNative();
  const native = nativeStatus();
  const report = {
    version,
    node: process.version,
    platform: `${process.platform} ${process.arch}`,
    cpu: os.cpus()[0]?.model ?? "unknown",
    threads: planThreads().numThreads,
    memoryBytes: os.totalmem(),
    freeMemoryBytes: os.freemem(),
    native,
    compiler: compilerVersion(),
  };
  if (!native.available) process.exitCode = 3;
  if (json) {
    printLine(JSON.stringify(report, null, 2));
    return;
  }
  printLine(`millrace         ${report.version} on Node ${report.node}, ${report.platform}`);
  printLine(`processor        ${report.cpu}, ${countOf(report.threads, "kernel thread")}`);
  printLine(
    `memory           ${formatBytes(report.memoryBytes)}, ${formatBytes(report.freeMemoryBytes)} free`,
  );
  printLine(
    `native kernels   ${native.available ? `yes: ${native.isas.join(", ")}` : `no: ${native.reason}`}`,
  );
  if (native.amxRefusal !== "") printLine(`${"".padEnd(17)}${amxNote(native.amxRefusal)}`);
  printLine(
    `compiler         ${report.compiler ?? "none found (g++ or clang++); needed only to build the kernels"}`,
  );
  if (!native.available)
    printLine(
      report.compiler === null
        ? "What to do: install g++ or clang++, then run `npx millrace doctor --build`."
        : "What to do: run `npx millrace doctor --build` and read what it prints.",
    );
}

/** The package's own build script, in a clone as in an installed package. */
const buildScript: string = packagePath("scripts/build-native.mjs");

/** Builds into the package's folder. What the compiler says goes to stderr, as stdout is for the report. */
function buildNative(): void {
  spawnSync(process.execPath, [buildScript], { stdio: ["ignore", 2, 2] });
}

function compilerVersion(): string | null {
  for (const compiler of [process.env["CXX"], "g++", "clang++"]) {
    if (compiler === undefined || compiler === "") continue;
    try {
      const text = execFileSync(compiler, ["--version"], {
        encoding: "utf8",
        stdio: ["ignore", "pipe", "ignore"],
      });
      return text.split("\n")[0] ?? compiler;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") continue;
      return `${compiler}: does not run`;
    }
  }
  return null;
}
