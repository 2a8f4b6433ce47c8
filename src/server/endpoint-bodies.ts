import type { z } from "zod";
import { loadAdapterSchema, unloadAdapterSchema } from "./adapters/adapter-routes.ts";
import { countTokensSchema, messagesFields, messagesSchema } from "./anthropic/schemas.ts";
import { loadModelSchema, unloadModelSchema } from "./pool/pool-routes.ts";
import { type FieldSupport, openAiFields } from "./request/field-support.ts";
import {
  chatSchema,
  completionSchema,
  detokenizeSchema,
  embeddingsSchema,
  rerankSchema,
  scoreSchema,
  tokenizeSchema,
} from "./request/schemas.ts";
import { responsesFields, responsesSchema } from "./responses/schemas.ts";
import type { RouteName } from "./routes.ts";

/** The body that an endpoint takes, and what becomes of fields that are not in its schema. */
export interface EndpointBody {
  readonly schema: z.ZodObject;
  readonly fields: FieldSupport;
}

/** For the OpenAPI document and the reference page: of each endpoint that takes a body. */
export const endpointBodies: Readonly<Partial<Record<RouteName, EndpointBody>>> = {
  chat: { schema: chatSchema, fields: openAiFields },
  completions: { schema: completionSchema, fields: openAiFields },
  responses: { schema: responsesSchema, fields: responsesFields },
  messages: { schema: messagesSchema, fields: messagesFields },
  countTokens: { schema: countTokensSchema, fields: messagesFields },
  embeddings: { schema: embeddingsSchema, fields: openAiFields },
  score: { schema: scoreSchema, fields: openAiFields },
  rerank: { schema: rerankSchema, fields: openAiFields },
  tokenize: { schema: tokenizeSchema, fields: openAiFields },
  detokenize: { schema: detokenizeSchema, fields: openAiFields },
  loadAdapter: { schema: loadAdapterSchema, fields: openAiFields },
  loadModel: { schema: loadModelSchema, fields: openAiFields },
  unloadModel: { schema: unloadModelSchema, fields: openAiFields },
  unloadAdapter: { schema: unloadAdapterSchema, fields: openAiFields },
};

/** What a field takes, as an error says it; empty where it takes anything. */
export function takenBy(field: z.ZodType): string {
  // No JSON has a symbol, so every schema that checks anything says what it wants.
  const parsed = field.safeParse(Symbol("none"));
  return parsed.success ? "" : parsed.error.issues[0]!.message;
}
