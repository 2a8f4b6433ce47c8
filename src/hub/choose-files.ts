import { MillraceError } from "../base/errors.ts";
import { formatBytes } from "../base/units.ts";
import { type ModelId, showModelId } from "./model-id.ts";
import type { RepoFile, RepoListing } from "./repo-listing.ts";

/** Beside the weights: configuration, tokenizer, templates, licence. */
const companions =
  /^([^/]*\.(json|jinja|model)|(LICEN[SC]E|NOTICE|USE_POLICY)[^/]*|merges\.txt|vocab\.txt|1_Pooling\/config\.json)$/i;
/** Weights of the usual names; repositories also hold adapters and copies under others. */
const safetensors = /^model(-\d{5}-of-\d{5})?\.safetensors$/;
const partOfModel = /-(\d{5})-of-(\d{5})\.gguf$/i;

/**
 * The files of a repository that a model needs: safetensors with what belongs to them, or one GGUF file with all its
 * parts. Weights of other frameworks are left where they are. Throws `unsupported_format` where there are none to read,
 * or where one of several GGUF files has to be named.
 */
export function chooseFiles(listing: RepoListing<ModelId>): readonly RepoFile[] {
  const { files, id } = listing;
  const beside = files.filter(({ path }) => companions.test(path));
  const weights = files.filter(({ path }) => safetensors.test(path));
  if (weights.length > 0 && id.file === null) return [...beside, ...weights];
  const ggufs = chooseGguf(listing);
  return [...beside.filter(({ path }) => !path.endsWith(".index.json")), ...ggufs];
}

function chooseGguf({ id, files }: RepoListing<ModelId>): readonly RepoFile[] {
  const all = ggufNames(
    files.map(({ path }) => path),
    null,
  );
  const found = ggufNames(
    files.map(({ path }) => path),
    id.file,
  );
  if (found.size === 1) {
    const [parts] = found.values();
    return files.filter(({ path }) => parts!.includes(path));
  }
  if (all.size === 0) {
    throw new MillraceError(
      "unsupported_format",
      `${showModelId(id)} holds neither safetensors nor GGUF weights. Choose a repository that does.`,
    );
  }
  const sizeOf = (parts: readonly string[]): number =>
    files.filter(({ path }) => parts.includes(path)).reduce((sum, file) => sum + file.sizeBytes, 0);
  const list = [...all].map(([name, parts]) => `${name} (${formatBytes(sizeOf(parts))})`);
  const seen = found.size === 0 ? "no GGUF file with such a name" : `${found.size} GGUF files that fit`;
  throw new MillraceError(
    "unsupported_format",
    `${showModelId(id)} holds ${seen}. Name one by a part of its name, as in ${id.repo}:Q4_K_M. There are ${list.slice(0, 20).join(", ")}.`,
  );
}

/**
 * GGUF models among the names, with the files of each: parts of a split one count as one model. Projectors of images are
 * none.
 *
 * @param wanted a part of the name between separators, or the whole; null for all
 */
export function ggufNames(
  names: readonly string[],
  wanted: string | null,
): ReadonlyMap<string, readonly string[]> {
  const models = new Map<string, string[]>();
  for (const name of names) {
    if (!/\.gguf$/i.test(name) || /mmproj/i.test(name)) continue;
    const model = name.replace(partOfModel, ".gguf");
    if (wanted === null || hasPart(model, wanted)) models.set(model, [...(models.get(model) ?? []), name]);
  }
  return models;
}

/** Number of files of the split model that a file is part of; 1 for a whole one. */
export function numPartsOf(name: string): number {
  return Number(partOfModel.exec(name)?.[2] ?? 1);
}

function hasPart(name: string, wanted: string): boolean {
  const text = name.toLowerCase();
  const part = wanted.toLowerCase();
  const isSeparate = (char: string | undefined): boolean => char === undefined || /[-._/]/.test(char);
  for (let at = text.indexOf(part); at >= 0; at = text.indexOf(part, at + 1))
    if (isSeparate(text[at - 1]) && isSeparate(text[at + part.length])) return true;
  return false;
}
