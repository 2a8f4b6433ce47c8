import { expect, test } from "vitest";
import { splitWords } from "./split-words.ts";

test("spaces part words, quotes of either kind keep them together", () => {
  expect(splitWords(`run  --path "/a b/c" --name='x y' its" end"`)).toEqual([
    "run",
    "--path",
    "/a b/c",
    "--name=x y",
    "its end",
  ]);
  expect(splitWords("")).toEqual([]);
  expect(splitWords('""')).toEqual([""]);
});
