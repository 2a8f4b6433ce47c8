// Puts the command line and its threads, with the packages that `serve` needs, into a few files: dist/bundle/. Node
// reads them in a third of the time that hundreds of modules take. dist/cli/main.js takes them while they are of the same
// build as dist/ (src/cli/bundle.ts); after a `tsc -b` alone the modules run themselves. Part of `npm run build`.
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { build } from "rolldown";
import { bundleName, bundleTimeName, timeOfBuild } from "../dist/cli/bundle.js";
import { root } from "./run-step.mjs";

/** The command line, and what it starts by name: worker threads, which look beside themselves. */
const entries = [
  "src/cli/run.ts",
  "src/engine/engine-worker.ts",
  "src/grammar/grammar-thread.ts",
  "src/bench/load-thread.ts",
];

/** What `serve` imports before it answers. Other packages stay where npm put them. */
const bundledPackages = [
  "@hono/node-server",
  "@huggingface/jinja",
  "@huggingface/tokenizers",
  "commander",
  "hono",
  "prom-client",
  "zod",
];

const packageOf = (file) => /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(file)?.[1];

/** Packages that are left out. What a package in the bundle imports comes with it. */
function isExternal(id, importer) {
  const isOwn = id.startsWith(".") || path.isAbsolute(id);
  const isBundled = bundledPackages.some((name) => id === name || id.startsWith(`${name}/`));
  return !isOwn && !isBundled && packageOf(importer ?? "") === undefined;
}

/** Name, version and licence of each package in the bundle: their licences ask to go with every copy. */
function licencesOf(files) {
  const names = new Set(files.map(packageOf));
  names.delete(undefined);
  return [...names]
    .toSorted((a, b) => (a < b ? -1 : 1))
    .map((name) => {
      const folder = path.join(root, "node_modules", name);
      const { version, license } = JSON.parse(readFileSync(path.join(folder, "package.json"), "utf8"));
      const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
      const text = file === undefined ? "" : readFileSync(path.join(folder, file), "utf8");
      return `${name} ${version} (${license})\n\n${text}`;
    });
}

const bundleFolder = path.join(root, "dist", bundleName);
const time = timeOfBuild();
rmSync(bundleFolder, { recursive: true, force: true });
// Each by itself: threads share no modules at run time, and one file is read sooner than several.
const outputs = await Promise.all(
  entries.map((entry) =>
    build({
      cwd: root,
      input: entry,
      platform: "node",
      external: isExternal,
      output: {
        dir: bundleFolder,
        sourcemap: true,
        // In one folder, so that from here the package's folder is as many up as from other modules.
        entryFileNames: "[name].js",
        chunkFileNames: "[name]-[hash].js",
      },
    }),
  ),
);
const files = outputs.flatMap(({ output }) => output.flatMap((chunk) => chunk.moduleIds ?? []));
writeFileSync(path.join(bundleFolder, "LICENSES"), licencesOf(files).join(`\n\n${"-".repeat(80)}\n\n`));
writeFileSync(path.join(bundleFolder, bundleTimeName), String(time));
