import { type Command, Option } from "commander";
import { MillraceError } from "../base/errors.ts";
import { flagName } from "../config/component.ts";
import { type VllmFlag, vllmFlags } from "../config/vllm-flags.ts";

/** What flags of vLLM's on a command line come to. */
export interface MetVllmFlags {
  /** Lines to show: what was taken without an effect, and why. */
  readonly notes: readonly string[];
  /** Flags of ours that they mean, with their values. */
  readonly means: ReadonlyMap<string, string>;
}

/**
 * Adds vLLM's flags that are not ours, unseen in the help, so that each is met by name; what comes back tells what was met
 * once the command line is parsed. Parsing throws `invalid_option`, with what to use, for one that asks for what this server
 * does not do.
 */
export function addVllmFlags(command: Command): MetVllmFlags {
  const notes: string[] = [];
  const means = new Map<string, string>();
  for (const met of vllmFlags) {
    const option = new Option(met.flag).hideHelp();
    command.addOption(option);
    command.on(`option:${option.name()}`, (value: string | null | undefined) => {
      if ("note" in met) notes.push(`${flagName(met.flag)} changes nothing: ${met.note}.`);
      else if ("means" in met) means.set(...met.means);
      else if (typeof value !== "string" || met.taken?.includes(value) !== true) throw refusal(met, value);
    });
  }
  return { notes, means };
}

function refusal(met: VllmFlag & { readonly instead: string }, value: unknown): MillraceError {
  const name = flagName(met.flag);
  const seen = typeof value === "string" ? `${name} ${value}` : name;
  return new MillraceError(
    "invalid_option",
    `${seen} is a flag of vLLM's that this server does not have. In its place: ${met.instead}.`,
    { param: name },
  );
}
