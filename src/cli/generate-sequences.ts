import { MillraceError } from "../base/errors.ts";
import { startEngineWorker } from "../engine/worker-client.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import type { EngineClient } from "../protocol/engine-client.ts";
import { defaultSampling } from "../protocol/sampling-params.ts";
import type { CalibrationSize } from "../quantize/calibration/calibration-tokens.ts";
import { engineDefaults } from "./engine-defaults.ts";
import { engineOptionsOf } from "./engine-options.ts";
import { openTokenizer } from "./model-source.ts";

/**
 * Sequences that a model writes from its first token on, drawn as it predicts them; the same in every run. They are what
 * the model has seen most of, where its training text is not at hand (Liu et al. 2023, LLM-QAT, section 3.1).
 */
export async function generateSequences(
  checkpoint: Checkpoint,
  { count, length }: CalibrationSize,
  tokenizerPath: string | undefined,
): Promise<number[][]> {
  const { tokenizer } = openTokenizer(checkpoint, { tokenizer: tokenizerPath });
  const first = tokenizer.bosTokenId ?? tokenizer.eosTokenIds[0];
  if (first === undefined) {
    throw new MillraceError(
      "no_tokenizer",
      "The tokenizer has no token that begins or ends a text, which --calibration self begins with. Give a text with --calibration.",
      { param: "--calibration" },
    );
  }
  const client = await startEngineWorker(engineOptionsOf(checkpoint.path, engineDefaults("auto")));
  try {
    return await Promise.all(
      Array.from({ length: count }, (_, index) => write(client, [first], { index, numTokens: length - 1 })),
    );
  } finally {
    await client.close();
  }
}

async function write(
  client: EngineClient,
  prompt: readonly number[],
  { index, numTokens }: { readonly index: number; readonly numTokens: number },
): Promise<number[]> {
  const ids = [...prompt];
  const sampling = { ...defaultSampling, maxTokens: numTokens, seed: BigInt(index), ignoreEos: true };
  const request = { requestId: `calibration-${index}`, promptTokenIds: prompt, sampling };
  for await (const { newTokenIds } of client.generate(request)) ids.push(...newTokenIds);
  return ids;
}
