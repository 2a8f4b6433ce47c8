import { firstModelOf, tokenizeRemotely } from "../../client/served-models.ts";
import type { BenchOptions } from "../bench-options.ts";
import { whenReady } from "../when-ready.ts";
import { type PromptSource, wordText } from "./synthetic-workload.ts";

/** What a server's synthetic prompts are made of; words before they are calibrated. */
export async function choosePrompts(options: BenchOptions, model: string): Promise<PromptSource> {
  const { vocabSize, prompts } = options;
  if (typeof prompts === "object") return prompts;
  if (prompts === "words" || areMessages(options)) return { wordsPerToken: 1 };
  if (vocabSize !== null) return { vocabSize };
  const tokenIds = await idsOfWords(options, model);
  return tokenIds === null ? { wordsPerToken: 1 } : { tokenIds };
}

/**
 * Words, for two servers that have not the same token ids for them: a text is the same to both. Undefined where what the
 * first is asked with does for the second.
 *
 * Errors: those of waiting for a server and asking it for its model.
 */
export async function promptsForBoth(a: BenchOptions, b: BenchOptions): Promise<"words" | undefined> {
  if (a.file !== undefined || a.vocabSize !== null || areMessages(a)) return undefined;
  const ofA = await idsOfWords(a, await modelOf(a));
  const ofB = await idsOfWords(b, await modelOf(b));
  return ofA !== null && ofA.join() === ofB?.join() ? undefined : "words";
}

function areMessages({ chat = false, synthetic }: BenchOptions): boolean {
  return chat || (synthetic?.turns ?? 1) > 1;
}

async function modelOf(options: BenchOptions): Promise<string> {
  const { endpoint, model, signal, timeoutMs } = options;
  const listed = await whenReady(options);
  return (
    model ?? (listed ?? (await firstModelOf(endpoint, { signal, timeoutMs: timeoutMs || undefined }))).id
  );
}

/** Null from a server that has no `/tokenize`. */
function idsOfWords({ endpoint, signal }: BenchOptions, model: string): Promise<number[] | null> {
  return tokenizeRemotely(endpoint, { model, prompt: wordText, signal });
}
