import fc from "fast-check";
import { expect, test } from "vitest";
import { SseParser } from "./sse-parser.ts";

function parse(chunks: readonly Uint8Array[]): string[] {
  const events: string[] = [];
  const parser = new SseParser((data) => events.push(data));
  for (const chunk of chunks) parser.push(chunk);
  parser.end();
  return events;
}

test("gives the same events however the bytes are split", () => {
  const lineEnd = fc.constantFrom("\n", "\r\n", "\r");
  const text = fc.string({ unit: "grapheme", maxLength: 12 }).filter((value) => !/[\r\n]/.test(value));
  fc.assert(
    fc.property(
      fc.array(text, { maxLength: 6 }),
      lineEnd,
      fc.infiniteStream(fc.nat(7)),
      (payloads, end, sizes) => {
        const bytes = new TextEncoder().encode(
          payloads.map((payload) => `data: ${payload}${end}${end}`).join(""),
        );
        const chunks: Uint8Array[] = [];
        for (let at = 0; at < bytes.length; ) {
          const size = 1 + (sizes.next().value as number);
          chunks.push(bytes.subarray(at, at + size));
          at += size;
        }
        expect(parse(chunks)).toEqual(payloads);
      },
    ),
  );
});

test("joins data lines, ignores comments and other fields, drops an unfinished event", () => {
  const text = ": ping\n\nevent: x\ndata: a\ndata:b\n\ndata: cut";
  expect(parse([new TextEncoder().encode(text)])).toEqual(["a\nb"]);
});

test("keeps 16 MiB of a line without end that comes in small parts, and reads on behind it", () => {
  const part = new TextEncoder().encode("x".repeat(1024));
  const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
  const endless = Array.from({ length: 20 * 1024 }, () => part);
  const [cut, next, ...more] = parse([encode("data: "), ...endless, encode("\n\ndata: a\n\n")]);
  expect(more).toEqual([]);
  expect(next).toBe("a");
  expect(cut).toMatch(/^x+$/);
  expect(Math.floor(cut!.length / 2 ** 20)).toBe(16);
});
