import { nearestName } from "../base/nearest-name.ts";
import { type Component, variableName } from "../config/component.ts";
import { supervisedVariables } from "./supervised.ts";

export const variablePrefix = "MILLRACE_";

/** Those that only tests of the project read. */
const testVariable = /^MILLRACE_(TEST|LAW|FUZZ|MINILM)(_|$)/;

/** A line for each variable of the environment that looks like a setting and is none. */
export function unknownVariables(
  environment: NodeJS.ProcessEnv,
  components: readonly Component[],
): readonly string[] {
  const settings = components.flatMap((component) => Object.values(component));
  const ours = settings.flatMap((setting) => [
    variableName(variablePrefix, setting),
    ...(setting.env === undefined ? [] : [setting.env]),
  ]);
  const known = new Set([...ours, ...supervisedVariables]);
  return Object.keys(environment)
    .filter((name) => name.startsWith(variablePrefix) && !known.has(name) && !testVariable.test(name))
    .map((name) => {
      const bare = (full: string): string => full.slice(variablePrefix.length);
      const nearest = nearestName(bare(name), ours.map(bare));
      const meant = nearest === undefined ? "" : ` The nearest that is one is ${variablePrefix}${nearest}.`;
      return `The variable ${name} is no setting and changes nothing.${meant}`;
    });
}
