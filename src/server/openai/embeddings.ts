import { type HttpContext, jsonResponse } from "../http-context.ts";
import { demand } from "../request/field-errors.ts";
import { encodeText } from "../request/prompts.ts";
import { readBody } from "../request/request-body.ts";
import { embeddingsSchema } from "../request/schemas.ts";
import { checkTokenIds } from "../request/token-rules.ts";
import type { ServerContext } from "../server-context.ts";
import { embedTexts, maxTexts, resolveEmbedder } from "./embed-texts.ts";

/** `POST /v1/embeddings`: one vector for each text or list of token ids. */
export async function handleEmbeddings(c: HttpContext, context: ServerContext): Promise<Response> {
  const registry = context.registry();
  const body = await readBody(c, context, embeddingsSchema);
  const model = resolveEmbedder(registry, body.model);
  const embeddingSize = model.client.info.embeddingSize!;
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
  const { vectors, numTokens } = await embedTexts(c, model, tokenIds);
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
