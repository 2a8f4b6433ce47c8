import { expect, test } from "vitest";
import { ChunkReader } from "./chunk-reader.ts";

/** Reads events that came one a millisecond from 1 on, and the end mark behind them; a text is one as it is. */
function read(...events: readonly (object | string)[]): ChunkReader {
  const data = [...events.map((each) => (typeof each === "string" ? each : JSON.stringify(each))), "[DONE]"];
  return new ChunkReader(data.map((each, index) => ({ atMs: index + 1, coalesced: false, data: each })));
}

/** An event of a chat whose server sends every field, null where it says nothing. */
function chatEvent(delta: object, finishReason: string | null = null): object {
  const fields = { role: null, content: null, reasoning_content: null, tool_calls: null };
  return { error: null, choices: [{ delta: { ...fields, ...delta }, finish_reason: finishReason }] };
}

const opener = chatEvent({ role: "assistant", content: "" });
const closer = chatEvent({}, "stop");

test("fields that are null are no tokens, and no errors", () => {
  const call = [{ function: { arguments: "{" } }];
  const halfCharacter = chatEvent({ content: "" });
  const reader = read(
    opener,
    chatEvent({ content: "a" }),
    halfCharacter,
    chatEvent({ tool_calls: call }),
    closer,
  );
  expect(reader.fault).toBeNull();
  expect(reader.chunkMs).toEqual([2, 3, 4]);
  expect(reader.finishReason).toBe("stop");
});

test("a call of no tool is no token", () => {
  expect(read(opener, chatEvent({ content: "a" }), chatEvent({ tool_calls: [] }, "stop")).chunkMs).toEqual([
    2,
  ]);
});

test("a chat that opens and closes had no token", () => {
  expect(read(opener, closer).fault).toEqual({ kind: "malformed", message: "the stream had no token" });
});

test("an error in a stream is told by the start of its message, and one in too many objects without", () => {
  const long = { error: { message: "x".repeat(5000) } };
  expect(read(long).fault).toEqual({ kind: "in-stream", message: `${"x".repeat(600)}…` });
  const deep = `${'{"error":'.repeat(100_000)}"deep"${"}".repeat(100_000)}`;
  expect(read(deep).fault).toEqual({ kind: "in-stream", message: "error without a message" });
});

test.each([
  ["a choice that is null", '{"choices":[null]}', "choice is null"],
  ["a text that is a number", '{"choices":[{"text":7}]}', "text is 7"],
  [
    "an end that is an object",
    '{"choices":[{"text":"b","finish_reason":{"type":"stop"}}]}',
    "finish_reason is { type: 'stop' }",
  ],
  [
    "an object that is deeper than the stack",
    `{"choices":${'{"a":'.repeat(100_000)}1${"}".repeat(100_000)}}`,
    "choices are { a: [Object] }",
  ],
  ["a count that is a text", '{"choices":[],"usage":{"completion_tokens":"x"}}', "completion_tokens is 'x'"],
  ["a count below zero", '{"choices":[],"usage":{"prompt_tokens":-5}}', "prompt_tokens is -5"],
])("%s is an odd answer, and the others count", (_name, event, told) => {
  const reader = read({ choices: [{ text: "a", finish_reason: null }] }, event);
  expect(reader.fault).toMatchObject({ kind: "malformed", message: expect.stringContaining(told) as string });
  expect(reader.chunkMs).toEqual([1]);
});
