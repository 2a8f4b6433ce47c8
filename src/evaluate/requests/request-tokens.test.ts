import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createCharacterTokenizer, prefixId } from "../../../tests/character-tokenizer.ts";
import { encodePair, encodeRolling } from "./request-tokens.ts";

const tokenizer = createCharacterTokenizer();
const ids = (text: string): number[] => tokenizer.encode(text);

describe("encodePair", () => {
  it("moves white space at the end of the context to the continuation", () => {
    expect(encodePair({ tokenizer, maxLength: 100 }, "ab \n", "c")).toEqual({
      request: { tokenIds: ids("ab \nc"), start: 2, topK: 0 },
      numLost: 0,
    });
  });

  it("puts the prefix token before a text without context", () => {
    expect(encodePair({ tokenizer, maxLength: 100 }, "", "ab").request).toEqual({
      tokenIds: [prefixId, ...ids("ab")],
      start: 1,
      topK: 0,
    });
    expect(encodePair({ tokenizer, maxLength: 100 }, "  ", "a").request).toEqual({
      tokenIds: [prefixId, ...ids("  a")],
      start: 1,
      topK: 0,
    });
  });

  it("cuts the left end of what is longer than the model reads, the last token being predicted only", () => {
    expect(encodePair({ tokenizer, maxLength: 4 }, "abcdef", "gh")).toEqual({
      request: { tokenIds: ids("defgh"), start: 3, topK: 0 },
      numLost: 3,
    });
  });

  it("refuses an answer that is longer than the model reads, and one without tokens", () => {
    expect(() => encodePair({ tokenizer, maxLength: 3 }, "a", "bcde")).toThrow(
      expect.objectContaining({ code: "context_length_exceeded" }),
    );
    expect(() => encodePair({ tokenizer, maxLength: 3 }, "a", "")).toThrow(
      expect.objectContaining({ code: "invalid_data_file" }),
    );
  });
});

describe("encodeRolling", () => {
  it("gives the windows of lm-eval's own example", () => {
    const windows = encodeRolling({ tokenizer, maxLength: 4 }, "0123456789");
    expect(windows).toEqual([
      { tokenIds: [prefixId, ...ids("0123")], start: 1, topK: 0 },
      { tokenIds: ids("34567"), start: 1, topK: 0 },
      { tokenIds: ids("56789"), start: 3, topK: 0 },
    ]);
  });

  it("predicts every token once, in windows the model can read, each with a token before it", () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 60 }), fc.integer({ min: 1, max: 12 }), (text, maxLength) => {
        const windows = encodeRolling({ tokenizer, maxLength }, text);
        const predicted = windows.flatMap(({ tokenIds, start }) => [...tokenIds].slice(start));
        expect(predicted).toEqual(ids(text));
        for (const { tokenIds, start } of windows) {
          expect(tokenIds.length).toBeLessThanOrEqual(maxLength + 1);
          expect(start).toBeGreaterThanOrEqual(1);
        }
      }),
    );
  });
});
