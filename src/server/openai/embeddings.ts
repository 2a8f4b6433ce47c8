import { MillraceError } from "../../base/errors.ts";
import { type HttpContext, jsonResponse } from "../http-context.ts";
import type { ServerContext } from "../server-context.ts";
import { demand } from "../request/field-errors.ts";
import { encodeText } from "../request/prompts.ts";
import { readBody } from "../request/request-body.ts";
import { embeddingsSchema } from "../request/schemas.ts";
import { checkTokenIds } from "../request/token-rules.ts";

/** Most texts of one request, as OpenAI has it. */
const maxTexts = 2048;

/** `POST /v1/embeddings`: one vector for each text or list of token ids. */
export async function handleEmbeddings(c: HttpContext, context: ServerContext): Promise<Response> {
  const registry = context.registry();
  const body = await readBody(c, context, embeddingsSchema);
  const model = registry.resolve(body.model);
  const { client } = model;
  const { embeddingSize, architecture } = client.info;
  if (embeddingSize === null) {
    throw new MillraceError(
      "invalid_request",
      `The model \`${model.id}\` (${architecture}) makes text and no embeddings. Ask a server of an embedding model, such as a BertModel.`,
      { param: "model" },
    );
  }
  const asked = body.dimensions ?? embeddingSize;
  demand(
    asked === embeddingSize,
    "dimensions",
    asked,
    `${embeddingSize}, the length of this model's vectors`,
  );
  const { input } = body;
  const isOne = typeof input === "string" || typeof input[0] === "number";
  const texts = (isOne ? [input] : input) as readonly (string | readonly number[])[];
  demand(texts.length <= maxTexts, "input", input, `at most ${maxTexts} texts (here ${texts.length})`);
  const tokenIds = texts.map((text, at) => {
    const param = isOne ? "input" : `input[${at}]`;
    return typeof text === "string"
      ? encodeText(text, param, true, model)
      : checkTokenIds(text, param, model);
  });
  const { signal } = c.req.raw;
  const vectors = await Promise.all(tokenIds.map((ids) => client.embed({ tokenIds: ids }, signal)));
  const numTokens = tokenIds.reduce((sum, ids) => sum + ids.length, 0);
  const isBase64 = body.encoding_format === "base64";
  return jsonResponse(c, {
    object: "list",
    data: vectors.map((vector, index) => ({
      object: "embedding",
      index,
      embedding: isBase64 ? base64Of(vector) : Array.from(vector),
    })),
    model: model.id,
    usage: { prompt_tokens: numTokens, total_tokens: numTokens },
  });
}

/** The f32 values, little-endian. */
function base64Of(vector: Float32Array): string {
  return Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength).toString("base64");
}
