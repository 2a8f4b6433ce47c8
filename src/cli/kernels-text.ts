import { countOf } from "../base/units.ts";
import type { EngineInfo } from "../protocol/engine-client.ts";

/** What computes, for records and reports: `native avx2, 2 threads`. */
export function kernelsText({
  backend,
  isa,
  numThreads,
}: Pick<EngineInfo, "backend" | "isa" | "numThreads">): string {
  if (backend !== "native") return backend;
  return `${backend} ${isa}, ${countOf(numThreads, "thread")}`;
}
