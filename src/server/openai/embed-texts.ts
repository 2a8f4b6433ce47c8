import { MillraceError } from "../../base/errors.ts";
import type { HttpContext } from "../http-context.ts";
import type { ModelRegistry, ServedModel } from "../served-model.ts";

/** Most texts of one request, as OpenAI has it. */
export const maxTexts = 2048;

/**
 * The named model, or the first that makes embeddings where the request names none. Errors: `model_not_found`,
 * `invalid_request` for a model that makes none.
 */
export function resolveEmbedder(registry: ModelRegistry, name: string | null | undefined): ServedModel {
  const makers = registry.models.filter(({ client }) => client.info.embeddingSize !== null);
  const isNamed = name !== null && name !== undefined && name !== "";
  const model = isNamed ? registry.resolve(name) : (makers[0] ?? registry.resolve(name));
  const { embeddingSize, architecture } = model.client.info;
  if (embeddingSize !== null) return model;
  const names = makers.map(({ id }) => `\`${id}\``).join(", ");
  const advice =
    names === ""
      ? "Ask a server of an embedding model, such as a BertModel."
      : `Name one that does: ${names}.`;
  throw new MillraceError(
    "invalid_request",
    `The model \`${model.id}\` (${architecture}) makes text and no embeddings. ${advice}`,
    { param: "model" },
  );
}

/** What texts came to, with the tokens that they took. */
export interface EmbeddedTexts {
  readonly vectors: readonly Float32Array[];
  readonly numTokens: number;
}

/** One vector for each text. Errors: `rate_limited` before any work. */
export async function embedTexts(
  c: HttpContext,
  { client }: ServedModel,
  tokenIds: readonly (readonly number[])[],
): Promise<EmbeddedTexts> {
  const numTokens = tokenIds.reduce((sum, ids) => sum + ids.length, 0);
  c.get("ticket")?.spend(numTokens);
  const { signal } = c.req.raw;
  const vectors = await Promise.all(tokenIds.map((ids) => client.embed({ tokenIds: ids }, signal)));
  return { vectors, numTokens };
}
