import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

type Collect = (options: { readonly type: "minor" }) => void;

let collect: Collect | undefined;

/**
 * Gives back typed arrays that were made a short while ago and are held by nothing. V8 counts their bytes but lets tens of
 * megabytes of them stand; after a call only those in use take memory. Some 1 ms.
 */
export function collectGarbage(): void {
  collect ??= exposeCollect();
  collect({ type: "minor" });
}

/** Collects whenever `most` elements have been worked on since the last time: small matrices are many. */
export function collectAfter(most: number): (numElements: number) => void {
  let count = 0;
  return (numElements) => {
    count += numElements;
    if (count < most) return;
    collectGarbage();
    count = 0;
  };
}

function exposeCollect(): Collect {
  setFlagsFromString("--expose-gc");
  return runInNewContext("gc") as Collect;
}
