// Builds the native kernels: build/native/millrace.node. Objects are rebuilt only when their inputs change.
// Without a compiler, or on another processor, it says so and ends well: the reference backend then does the work.
// --sanitize builds with the address and undefined-behaviour sanitizers (see test-sanitized.mjs).
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..");
const sourceRoot = path.join(root, "native");
const outRoot = path.join(root, "build", "native");
const verbose = process.argv.includes("--verbose");
const sanitize = process.argv.includes("--sanitize");
const objectRoot = path.join(outRoot, sanitize ? "objects-sanitized" : "objects");
const sanitizeFlags = [
  "-fsanitize=address,undefined",
  "-fno-sanitize-recover=all",
  "-fno-omit-frame-pointer",
];

const avx2Flags = ["-mavx2", "-mfma", "-mf16c"];
const avx512Flags = [...avx2Flags, ..."-mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni".split(" ")];
/** Lesser sets come first. `amx_twin` is AMX with its tiles in plain C++, for tests. */
const isaFlags = {
  avx2: avx2Flags,
  amx_twin: avx2Flags,
  avx512: avx512Flags,
  avx512_bf16: [...avx512Flags, "-mavx512bf16"],
  amx: [...avx512Flags, "-mamx-tile", "-mamx-int8", "-mamx-bf16"],
};
/** The sets that the sources of kernels/ and linear/ are compiled for, and those of the folders of x86/. */
const vectorIsas = ["avx2", "avx512"];
const folderIsas = {
  avx2: ["avx2"],
  avx512: ["avx512"],
  avx512_bf16: ["avx512_bf16"],
  amx: ["amx_twin", "amx"],
};

function skip(reason) {
  console.log(`Native kernels not built: ${reason} Millrace runs on its slow reference backend.`);
  process.exit(0);
}

/** The compiler's command, and whether it is g++ (clang rejects two of its warning names). */
function findCompiler() {
  for (const command of process.env.CXX ? [process.env.CXX] : ["g++", "clang++", "c++"]) {
    const [program, ...args] = command.split(/\s+/);
    const probe = spawnSync(program, [...args, "--version"], { encoding: "utf8" });
    if (probe.status === 0)
      return { program, args, isClang: /clang/i.test(probe.stdout), version: probe.stdout };
  }
  return undefined;
}

function findNodeApiHeaders() {
  try {
    const require = createRequire(import.meta.url);
    const folder = path.join(path.dirname(require.resolve("node-api-headers/package.json")), "include");
    if (existsSync(path.join(folder, "node_api.h"))) return folder;
  } catch (error) {
    if (error.code !== "MODULE_NOT_FOUND") throw error;
  }
  const beside = path.resolve(process.execPath, "../../include/node");
  return existsSync(path.join(beside, "node_api.h")) ? beside : undefined;
}

function filesUnder(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true })
    .map((name) => path.join(folder, name))
    .filter((file) => statSync(file).isFile())
    .sort();
}

/**
 * One unit per object file. Folders say how a source is compiled: kernels/ and linear/ once per set of vector
 * instructions, x86/<isa>/ for that set (and its twin), everything else once without instruction-set flags. A file of
 * linear/ whose name ends in `.common.cc` is compiled once.
 */
function listUnits(sources) {
  const common = [];
  const perIsa = Object.fromEntries(Object.keys(isaFlags).map((isa) => [isa, []]));
  for (const source of sources) {
    const relative = path.relative(sourceRoot, source);
    const [top, second] = relative.split(path.sep);
    if (relative.endsWith(".test.cc")) continue;
    const isPerIsa = (top === "kernels" || top === "linear") && !relative.endsWith(".common.cc");
    const isas = top === "x86" ? folderIsas[second] : isPerIsa ? vectorIsas : undefined;
    for (const isa of isas ?? []) perIsa[isa].push({ source, isa });
    if (isas === undefined) common.push({ source, isa: undefined });
  }
  // The linker keeps the first copy of an inline function of the standard library, so copies compiled for lesser
  // instruction sets come first: no AVX-512 instruction can reach a machine without it.
  return [...common, ...Object.values(perIsa).flat()];
}

function commandFor(unit, compiler, headers) {
  const relative = path.relative(sourceRoot, unit.source).replaceAll(path.sep, "_");
  const object = path.join(objectRoot, `${relative}${unit.isa ? `.${unit.isa}` : ""}.o`);
  const flags = ["-std=c++20", "-O3", "-ffp-contract=off", "-fPIC", "-fvisibility=hidden", "-pthread"];
  flags.push("-Wall", "-Wextra", "-Werror", "-DNAPI_VERSION=8", `-I${sourceRoot}`, `-isystem${headers}`);
  if (unit.isa) flags.push(...isaFlags[unit.isa], `-DMILLRACE_ISA=${unit.isa}`);
  if (sanitize) flags.push(...sanitizeFlags, "-O1", "-g");
  // GCC 12's own AVX-512 headers trip these two (its bug 105593).
  if (isaFlags[unit.isa]?.includes("-mavx512f") && !compiler.isClang)
    flags.push("-Wno-uninitialized", "-Wno-maybe-uninitialized");
  return { object, args: [...compiler.args, ...flags, "-c", unit.source, "-o", object] };
}

function run(program, args) {
  return new Promise((resolve, reject) => {
    if (verbose) console.log(program, args.join(" "));
    const child = spawn(program, args, { stdio: "inherit" });
    child.on("error", reject);
    child.on("exit", (code) =>
      code === 0 ? resolve() : reject(new Error(`${args.at(-3)}: exit code ${code}`)),
    );
  });
}

/** Runs tasks two at a time. */
async function runAll(tasks) {
  let next = 0;
  const lane = async () => {
    while (next < tasks.length) await tasks[next++]();
  };
  await Promise.all([lane(), lane()]);
}

const stampOf = (parts) => {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part).update("\0");
  return hash.digest("hex");
};

const readIfThere = (file) => (existsSync(file) ? readFileSync(file, "utf8") : undefined);

async function main() {
  if (process.arch !== "x64") skip(`there are no kernels for ${process.arch} yet.`);
  if (process.platform === "win32") skip("Windows is not supported yet.");
  const compiler = findCompiler();
  if (!compiler) skip("no C++ compiler was found (g++ or clang++; or set CXX).");
  const headers = findNodeApiHeaders();
  if (!headers) skip("the Node-API headers were not found (package node-api-headers).");

  const files = filesUnder(sourceRoot);
  const headerHash = stampOf(files.filter((f) => f.endsWith(".h")).flatMap((f) => [f, readFileSync(f)]));
  mkdirSync(objectRoot, { recursive: true });
  const objects = [];
  const tasks = [];
  for (const unit of listUnits(files.filter((file) => file.endsWith(".cc")))) {
    const { object, args } = commandFor(unit, compiler, headers);
    const stamp = stampOf([compiler.version, headerHash, args.join(" "), readFileSync(unit.source)]);
    objects.push({ object, stamp });
    if (existsSync(object) && readIfThere(`${object}.stamp`) === stamp) continue;
    tasks.push(async () => {
      await run(compiler.program, args);
      writeFileSync(`${object}.stamp`, stamp);
    });
  }
  await runAll(tasks);

  const target = path.join(outRoot, "millrace.node");
  const stamp = stampOf(objects.flatMap(({ object, stamp }) => [object, stamp]));
  if (existsSync(target) && readIfThere(`${target}.stamp`) === stamp) return;
  const undefinedFlag = process.platform === "darwin" ? ["-undefined", "dynamic_lookup"] : [];
  const link = [
    ...compiler.args,
    ...(sanitize ? sanitizeFlags : []),
    "-shared",
    "-pthread",
    ...undefinedFlag,
    ...objects.map(({ object }) => object),
  ];
  const fresh = `${target}.${process.pid}`;
  await run(compiler.program, [...link, "-o", fresh]);
  renameSync(fresh, target);
  writeFileSync(`${target}.stamp`, stamp);
  console.log(
    `Native kernels built: ${path.relative(root, target)} (${tasks.length} of ${objects.length} objects new).`,
  );
}

try {
  await main();
} catch (error) {
  console.error(
    `Building the native kernels failed: ${error.message}. Choose another compiler with CXX=..., or go without with CXX=none.`,
  );
  process.exit(1);
}
