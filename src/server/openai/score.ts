import { type HttpContext, jsonResponse } from "../http-context.ts";
import { demand } from "../request/field-errors.ts";
import { encodeText } from "../request/prompts.ts";
import { readBody } from "../request/request-body.ts";
import { rerankSchema, scoreSchema } from "../request/schemas.ts";
import type { ServedModel } from "../served-model.ts";
import type { ServerContext } from "../server-context.ts";
import { type EmbeddedTexts, embedTexts, maxTexts, resolveEmbedder } from "./embed-texts.ts";

/** A text, and where it stands in the request. */
interface PlacedText {
  readonly text: string;
  readonly param: string;
}

/** `POST /score`: cosine similarities of pairs of texts, as vLLM has it for models that make one vector for a text. */
export async function handleScore(c: HttpContext, context: ServerContext): Promise<Response> {
  const registry = context.registry();
  const body = await readBody(c, context, scoreSchema);
  const model = resolveEmbedder(registry, body.model);
  const first = placed(body.text_1, "text_1");
  const second = placed(body.text_2, "text_2");
  const isPaired = first.length === 1 || first.length === second.length;
  demand(isPaired, "text_1", body.text_1, `one text, or as many as text_2 has (${second.length})`);
  const { vectors, numTokens } = await embedAll(c, model, [...first, ...second]);
  const data = second.map((_, index) => {
    const left = vectors[first.length === 1 ? 0 : index]!;
    return { index, object: "score", score: cosine(left, vectors[first.length + index]!) };
  });
  return jsonResponse(c, { object: "list", model: model.id, data, usage: usageOf(numTokens) });
}

/** `POST /rerank`: documents by their similarity to a query, in the form of Jina's and Cohere's API. */
export async function handleRerank(c: HttpContext, context: ServerContext): Promise<Response> {
  const registry = context.registry();
  const body = await readBody(c, context, rerankSchema);
  const model = resolveEmbedder(registry, body.model);
  const documents = body.documents.map((document) =>
    typeof document === "string" ? document : document.text,
  );
  const { vectors, numTokens } = await embedAll(c, model, [
    { text: body.query, param: "query" },
    ...placed(documents, "documents"),
  ]);
  const [query, ...others] = vectors;
  const results = others
    .map((vector, index) => ({
      index,
      ...(body.return_documents === false ? {} : { document: { text: documents[index]! } }),
      relevance_score: cosine(query!, vector),
    }))
    // Equal ones keep the order in which they came.
    .sort((a, b) => b.relevance_score - a.relevance_score)
    .slice(0, body.top_n ?? others.length);
  return jsonResponse(c, { model: model.id, results, usage: usageOf(numTokens) });
}

function placed(texts: string | readonly string[], param: string): PlacedText[] {
  if (typeof texts === "string") return [{ text: texts, param }];
  return texts.map((text, at) => ({ text, param: `${param}[${at}]` }));
}

async function embedAll(
  c: HttpContext,
  model: ServedModel,
  texts: readonly PlacedText[],
): Promise<EmbeddedTexts> {
  const param = texts.at(-1)!.param.replace(/\[.*/, "");
  demand(texts.length <= maxTexts, param, texts.length, `at most ${maxTexts} texts in all`);
  const tokenIds = texts.map(({ text, param: place }) => encodeText(text, place, true, model));
  return embedTexts(c, model, tokenIds);
}

/** Of vectors of any length; 0 where one of them is zero. */
function cosine(a: Float32Array, b: Float32Array): number {
  let product = 0;
  let squaresOfA = 0;
  let squaresOfB = 0;
  for (let at = 0; at < a.length; at += 1) {
    product += a[at]! * b[at]!;
    squaresOfA += a[at]! ** 2;
    squaresOfB += b[at]! ** 2;
  }
  const scale = Math.sqrt(squaresOfA * squaresOfB);
  return scale === 0 ? 0 : product / scale;
}

function usageOf(numTokens: number): object {
  return { prompt_tokens: numTokens, total_tokens: numTokens };
}
