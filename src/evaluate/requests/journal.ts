import { createHash } from "node:crypto";
import { appendFileSync, existsSync, mkdirSync, readFileSync, truncateSync } from "node:fs";
import path from "node:path";
import { z } from "zod";
import type { LanguageModel, ModelRequest, ModelResponse } from "./model-request.ts";

const lineSchema = z.object({
  key: z.string(),
  response: z.union([
    z.object({ logLikelihood: z.number(), isGreedy: z.boolean() }),
    z.object({ text: z.string(), isCut: z.boolean() }),
  ]),
});

/**
 * Responses that a model has given, in a file of JSON lines to which each is added as it comes. A run that was killed
 * goes on where it was: what stands in the file is not asked again. A last line that was cut is taken off.
 */
export class Journal {
  readonly #file: string;
  readonly #responses = new Map<string, ModelResponse>();

  /** Reads `file`, or begins it. Throws what the file system throws. */
  constructor(file: string) {
    this.#file = file;
    mkdirSync(path.dirname(file), { recursive: true });
    if (!existsSync(file)) return;
    let numGoodBytes = 0;
    for (const line of readFileSync(file, "utf8").split("\n").slice(0, -1)) {
      const parsed = parseLine(line);
      if (parsed === null) break;
      this.#responses.set(parsed.key, parsed.response);
      numGoodBytes += Buffer.byteLength(line) + 1;
    }
    truncateSync(file, numGoodBytes);
  }

  get size(): number {
    return this.#responses.size;
  }

  get(key: string): ModelResponse | undefined {
    return this.#responses.get(key);
  }

  add(key: string, response: ModelResponse): void {
    this.#responses.set(key, response);
    appendFileSync(this.#file, `${JSON.stringify({ key, response })}\n`);
  }
}

/**
 * A model that remembers. `identity` stands for all that its answers depend on besides the request: weights, precision,
 * context; another identity never meets the same entries. Drawn answers are kept by their seed.
 */
export function remember(model: LanguageModel, journal: Journal, identity: string): LanguageModel {
  return {
    renderChat: model.renderChat,
    maxLength: model.maxLength,
    get promptTokens() {
      return model.promptTokens;
    },
    prepare: (request) => {
      const prepared = model.prepare(request);
      const key = keyOf(identity, request);
      const known = journal.get(key);
      if (known !== undefined) return { ...prepared, send: () => Promise.resolve(known) };
      return {
        ...prepared,
        send: async (signal) => {
          const response = await prepared.send(signal);
          journal.add(key, response);
          return response;
        },
      };
    },
  };
}

function keyOf(identity: string, request: ModelRequest): string {
  return createHash("sha256")
    .update(JSON.stringify([identity, request]))
    .digest("hex");
}

function parseLine(line: string): z.infer<typeof lineSchema> | null {
  try {
    return lineSchema.safeParse(JSON.parse(line)).data ?? null;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}
