import { closeSync, openSync, readSync } from "node:fs";
import { StringDecoder } from "node:string_decoder";

const readBytes = 2 ** 20;

/** The lines of a file of text without their ends (LF), a part of the file at a time: it may be longer than a string. */
export function* readLines(file: string): Generator<string> {
  const descriptor = openSync(file, "r");
  const decoder = new StringDecoder("utf8");
  const part = Buffer.alloc(readBytes);
  try {
    let begun = "";
    for (let size = readSync(descriptor, part); size > 0; size = readSync(descriptor, part)) {
      const lines = (begun + decoder.write(part.subarray(0, size))).split("\n");
      begun = lines.pop()!;
      yield* lines;
    }
    yield begun + decoder.end();
  } finally {
    closeSync(descriptor);
  }
}
