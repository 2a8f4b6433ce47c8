import { createHash } from "node:crypto";
import { appendFileSync, mkdirSync, readFileSync, truncateSync } from "node:fs";
import path from "node:path";
import { z } from "zod";
import { MillraceError, systemReasonOf } from "../../base/errors.ts";
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
 * goes on where it was: what stands in the file is not asked again. A last line that was cut is taken off; a file with
 * other lines is refused and left as it is.
 */
export class Journal {
  readonly #file: string;
  readonly #responses = new Map<string, ModelResponse>();

  /** Reads `file`, or begins it. Throws `invalid_data_file`, `output_unwritable`. */
  constructor(file: string) {
    this.#file = file;
    const lines = readOrBegin(file).split("\n");
    const cut = lines.pop()!;
    let numGoodBytes = 0;
    for (const [index, line] of lines.entries()) {
      const parsed = parseLine(line);
      if (parsed === null) throw noJournal(file, index + 1);
      this.#responses.set(parsed.key, parsed.response);
      numGoodBytes += Buffer.byteLength(line) + 1;
    }
    if (!isBeginning(cut)) throw noJournal(file, lines.length + 1);
    if (cut !== "") truncateSync(file, numGoodBytes);
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

/** How every line begins. */
const lineStart = '{"key":"';

function isBeginning(line: string): boolean {
  return line.startsWith(lineStart) || lineStart.startsWith(line);
}

/** The file's text; a file that is not there is made, so that one that cannot be written is told before the first answer. */
function readOrBegin(file: string): string {
  try {
    mkdirSync(path.dirname(file), { recursive: true });
    appendFileSync(file, "");
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new MillraceError(
      "output_unwritable",
      `The journal ${file} cannot be read and written (${systemReasonOf(error)}). Give a file in a folder of yours with --journal.`,
      { cause: error, param: "--journal" },
    );
  }
}

function noJournal(file: string, line: number): MillraceError {
  return new MillraceError(
    "invalid_data_file",
    `${file}:${line} is no answer of a journal; a line is {"key", "response"}, as evaluate --journal writes it. Nothing was changed. Give another file with --journal, or take the line out.`,
    { param: "--journal" },
  );
}

function parseLine(line: string): z.infer<typeof lineSchema> | null {
  try {
    return lineSchema.safeParse(JSON.parse(line)).data ?? null;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}
