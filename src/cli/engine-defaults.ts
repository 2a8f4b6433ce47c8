import { Command } from "commander";
import { type EngineSettings, engineSettings } from "../config/engine-settings.ts";
import { nativeStatus } from "../kernels/create-ops.ts";
import { kernelsText } from "./kernels-text.ts";
import { addSettings, readSettings } from "./settings.ts";

/** What engines started here compute with, as long as no flag says otherwise. */
export function describeKernels(): string {
  const { available, isas, numThreads } = nativeStatus();
  const { isa } = engineDefaults("auto");
  return kernelsText({
    backend: available ? "native" : "reference",
    isa: isa === "auto" ? (isas[0] ?? "") : isa,
    numThreads,
  });
}

/** Every engine setting at its default, but for the weights' type. */
export function engineDefaults(dtype: EngineSettings["dtype"]): EngineSettings {
  const blank = addSettings(new Command(), engineSettings);
  return { ...readSettings(blank, engineSettings), dtype };
}
