import { MillraceError } from "../../base/errors.ts";
import type { HttpContext } from "../http-context.ts";
import type { ServedModel } from "../served-model.ts";

/** Most texts of one request, as OpenAI has it. */
export const maxTexts = 2048;

/** The length of the model's vectors. Errors: `invalid_request` for a model that makes none. */
export function requireEmbeddings({ id, client }: ServedModel): number {
  const { embeddingSize, architecture } = client.info;
  if (embeddingSize !== null) return embeddingSize;
  throw new MillraceError(
    "invalid_request",
    `The model \`${id}\` (${architecture}) makes text and no embeddings. Ask a server of an embedding model, such as a BertModel.`,
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
