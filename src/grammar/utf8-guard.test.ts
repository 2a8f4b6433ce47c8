import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { GrammarJudge } from "../../tests/grammar-judge.ts";
import { Utf8Guard, utf8Start } from "./utf8-guard.ts";

const singleBytes = Array.from({ length: 256 }, (_, byte) => String.fromCharCode(byte));

/** Reads as the platform's own decoder does: a text that may still go on is no fault. */
function isUtf8(bytes: readonly number[]): boolean {
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(Uint8Array.from(bytes), { stream: true });
    return true;
  } catch {
    return false;
  }
}

/** Where each kind of first byte and of second byte begins and ends. */
const edges = [0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1];
const edgeBytes = [...edges, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff];

function allows(guard: Utf8Guard, state: number, id: number, numTokens: number): boolean {
  const mask = new Int32Array(Math.ceil(numTokens / 32)).fill(-1);
  guard.restrict(mask, state);
  return ((mask[id >>> 5]! >>> (id & 31)) & 1) === 1;
}

test("byte after byte, what is let through is what a decoder takes", () => {
  const guard = new Utf8Guard(singleBytes);
  let numFaults = 0;
  const follow = (bytes: readonly number[], state: number): void => {
    for (const byte of edgeBytes) {
      const longer = [...bytes, byte];
      const isAllowed = allows(guard, state, byte, 256);
      expect(isAllowed, longer.map((each) => each.toString(16)).join(" ")).toBe(isUtf8(longer));
      if (!isAllowed) numFaults += 1;
      else if (longer.length < 4) follow(longer, guard.after(state, byte));
    }
  };
  follow([], utf8Start);
  expect(numFaults).toBeGreaterThan(1000);
});

test("a token of several bytes is let through where all of them are, one of none everywhere", () => {
  const byte = fc.constantFrom(...edgeBytes);
  fc.assert(
    fc.property(
      fc.array(byte, { maxLength: 3 }).filter(isUtf8),
      fc.array(byte, { maxLength: 6 }),
      (before, bytes) => {
        const guard = new Utf8Guard([...singleBytes, String.fromCharCode(...bytes)]);
        const state = before.reduce((last, id) => guard.after(last, id), utf8Start);
        expect(allows(guard, state, 256, 257)).toBe(isUtf8([...before, ...bytes]));
      },
    ),
    { numRuns: 2000, seed: 1 },
  );
});

describe("a grammar", () => {
  const judge = new GrammarJudge();
  afterAll(() => judge.close());

  test.each([
    ["overlong, two bytes", [0xc0, 0x80]],
    ["overlong, three bytes", [0xe0, 0x80, 0x80]],
    ["a surrogate", [0xed, 0xa0, 0x80]],
    ["overlong, four bytes", [0xf0, 0x80, 0x80, 0x80]],
    ["above U+10FFFF", [0xf4, 0x90, 0x80, 0x80]],
    ["no first byte", [0x80]],
  ])("takes no character that is none: %s", async (_, bytes) => {
    const accepts = await judge.judge('root ::= "a" [^"]{1,4} "b"');
    expect(accepts(Uint8Array.of(0x61, ...bytes, 0x62))).toBe(false);
    expect(accepts("aé€😀b")).toBe(true);
  });
});
