import { MillraceError } from "../base/errors.ts";
import type { JsonChannel } from "./json-channel.ts";

/** Vectors from `POST /v1/embeddings`, in the order of the texts. Throws `endpoint_unreachable`, `endpoint_failed`. */
export function createHttpEmbedder(
  channel: JsonChannel,
  model: string,
): (texts: readonly string[], signal: AbortSignal | undefined) => Promise<Float32Array[]> {
  const path = "/v1/embeddings";
  return async (texts, signal) => {
    const answer = await channel.post(
      path,
      { model, input: texts },
      { needs: "Relevancy needs embeddings.", signal },
    );
    const data = (answer as { data?: unknown } | null)?.data;
    const vectors: (Float32Array | undefined)[] = texts.map(() => undefined);
    for (const entry of Array.isArray(data) ? (data as unknown[]) : []) {
      const { index, embedding } = entry as { index?: unknown; embedding?: unknown };
      if (typeof index === "number" && Array.isArray(embedding))
        vectors[index] = Float32Array.from(embedding as number[]);
    }
    const whole = vectors.filter((vector) => vector !== undefined);
    if (whole.length === texts.length) return whole;
    throw new MillraceError(
      "endpoint_failed",
      `The answer of ${channel.urlOf(path)} has ${whole.length} vectors for ${texts.length} texts. An OpenAI-compatible list of embeddings is needed.`,
    );
  };
}
