import type { Values } from "../config/component.ts";
import type { samplingSettings } from "../config/server-settings.ts";
import { defaultSampling, type SamplingParams } from "../protocol/sampling-params.ts";

/** Sampling parameters from the command line. */
export function samplingParamsOf(settings: Values<typeof samplingSettings>): SamplingParams {
  return {
    ...defaultSampling,
    maxTokens: settings.maxTokens,
    temperature: settings.temperature,
    topP: settings.topP,
    topK: settings.topK,
    seed: settings.seed === undefined ? null : BigInt(settings.seed),
    ignoreEos: settings.ignoreEos,
  };
}
