import { expect } from "vitest";

/**
 * Settles `toEqual` of typed arrays by their bytes, where these are the same. Vitest looks at each number by itself
 * otherwise, which takes seconds a megabyte. Where bytes differ, its own comparison decides and shows what differs.
 */
function haveEqualBytes(a: unknown, b: unknown): boolean | undefined {
  if (!ArrayBuffer.isView(a) || !ArrayBuffer.isView(b)) return undefined;
  if (Object.getPrototypeOf(a) !== Object.getPrototypeOf(b)) return undefined;
  return bytesOf(a).equals(bytesOf(b)) ? true : undefined;
}

function bytesOf({ buffer, byteOffset, byteLength }: ArrayBufferView): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}

expect.addEqualityTesters([haveEqualBytes]);
