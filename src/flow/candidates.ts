import { MillraceError } from "../base/errors.ts";
import { type SchemeName, schemeNames } from "../quantize/plan.ts";
import type { SchemeCandidate } from "./flow-plan.ts";

/** The model as it is, rounded to a type of floats: it is the base of every flow. */
const floatNames: readonly string[] = ["bf16", "base"];

const form = /^(.+?)(?:-g(\d+))?$/;

/** Reads `w8a8,w4a8-g32,bf16`: names of schemes, each with the columns that share a scale. Throws `invalid_option`. */
export function parseCandidates(names: readonly string[]): SchemeCandidate[] {
  const asked = names.filter((name) => !floatNames.includes(name));
  const twice = asked.find((name, index) => asked.indexOf(name) !== index);
  if (twice !== undefined) throw wrong(`names ${twice} twice`);
  return asked.map((name) => {
    const [, scheme, group] = form.exec(name)!;
    if (!schemeNames.includes(scheme as SchemeName)) throw wrong(`has ${JSON.stringify(name)}`);
    return { name, scheme: scheme as SchemeName, groupSize: group === undefined ? null : Number(group) };
  });
}

function wrong(problem: string): MillraceError {
  return new MillraceError(
    "invalid_option",
    `--schemes ${problem}. It takes ${schemeNames.join(", ")}, where a group may follow as in w4a8-g32, and bf16 for the model as it is, separated by commas.`,
    { param: "--schemes" },
  );
}
