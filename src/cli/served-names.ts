import { MillraceError } from "../base/errors.ts";
import { modelNameOf } from "../formats/model-name.ts";
import type { ServeSettings } from "./serve-settings.ts";

/** The names of the first model, the one that answers show first. */
export function namesOfFirst(
  modelPath: string,
  servedModelName: readonly string[],
): readonly [string, ...string[]] {
  const [id = modelNameOf(modelPath), ...aliases] = servedModelName;
  return [id, ...aliases];
}

/** Every name that a request can choose by is one model's. Errors: `model_exists`. */
export function checkServedNames(modelPath: string, { server, adapters }: ServeSettings): void {
  const { servedModelName, models } = server;
  const holders: readonly (readonly [name: string, holder: string])[] = [
    ...[...new Set(namesOfFirst(modelPath, servedModelName))].map(
      (name) => [name, "the first model"] as const,
    ),
    ...adapters.loraModules.map(({ name }) => [name, "an adapter of --lora-modules"] as const),
    ...models.map(({ name, path }) => [name, `${path} of --models`] as const),
  ];
  const taken = new Map<string, string>();
  for (const [name, holder] of holders) {
    const other = taken.get(name);
    if (other !== undefined) throw nameTaken(name, other, holder);
    taken.set(name, holder);
  }
}

function nameTaken(name: string, first: string, second: string): MillraceError {
  return new MillraceError(
    "model_exists",
    `The name \`${name}\` is that of ${first} and of ${second}; a request could not choose. ` +
      "Give one of them another name, the first model by --served-model-name.",
    { param: "--models" },
  );
}
