import { formatCount } from "../base/units.ts";
import type { EngineInfo } from "./engine-client.ts";

/**
 * What can be done about a request that does not fit into the context: what its sender can do, and a longer context
 * where the model has the positions for it.
 *
 * @param remedy what the sender can do, such as `Shorten the prompt`
 * @param numTokens what the request needs in all
 */
export function contextAdvice(
  remedy: string,
  numTokens: number,
  { maxModelLen, maxPositions }: Pick<EngineInfo, "maxModelLen" | "maxPositions">,
): string {
  const most = `the model has no more than ${formatCount(maxPositions)} positions`;
  if (maxModelLen >= maxPositions) return `${remedy}; ${most}.`;
  if (numTokens > maxPositions) return `${remedy}; ${most}, also with a larger --max-model-len.`;
  return `${remedy}, or start with --max-model-len ${numTokens} or larger; ${most}.`;
}
