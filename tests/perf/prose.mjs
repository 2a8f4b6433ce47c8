// Token ids of the repository's own prose, as prompts of real text for any model.
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { openCheckpoint } from "../../dist/formats/open-checkpoint.js";
import { mapFile } from "../../dist/kernels/map-file.js";
import { createTokenizer } from "../../dist/tokenizer/create-tokenizer.js";

export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");

/** The tokenizer that a model brings. */
export function openTokenizer(modelPath) {
  const checkpoint = openCheckpoint(modelPath, { mapFile });
  try {
    return createTokenizer(checkpoint.tokenizer());
  } finally {
    checkpoint.close();
  }
}

/** At least `count` token ids of prose. */
export function proseTokens(tokenizer, count) {
  const guides = readdirSync(path.join(root, "docs/guide")).toSorted();
  const files = ["ARCHITECTURE.md", ...guides.map((name) => `docs/guide/${name}`)];
  const ids = [];
  for (const file of files) {
    if (ids.length >= count) break;
    ids.push(...tokenizer.encode(readFileSync(path.join(root, file), "utf8")));
  }
  if (ids.length < count) throw new Error(`the prose has ${ids.length} tokens, ${count} are wanted`);
  return ids;
}
