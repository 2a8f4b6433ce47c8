import { expect, test } from "vitest";
import { unknownVariables } from "./environment-names.ts";
import { serveComponents } from "./serve-settings.ts";

test("variables that are no settings are told, with what they may mean", () => {
  const known = {
    MILLRACE_PORT: "1",
    MILLRACE_ISA: "avx2",
    MILLRACE_MAX_NUM_SEQS: "",
    MILLRACE_API_KEY: "k",
  };
  const others = {
    MILLRACE_TEST_DATA: "x",
    MILLRACE_LAW: "1",
    MILLRACE_SUPERVISED: "1",
    MILLRACER: "",
    PATH: "",
  };
  expect(unknownVariables({ ...known, ...others }, serveComponents)).toEqual([]);
  expect(
    unknownVariables(
      { MILLRACE_MAX_NUM_SEQ: "9", MILLRACE_IZA: "avx2", MILLRACE_FRIDGE: "1" },
      serveComponents,
    ),
  ).toEqual([
    "The variable MILLRACE_MAX_NUM_SEQ is no setting and changes nothing. The nearest that is one is MILLRACE_MAX_NUM_SEQS.",
    "The variable MILLRACE_IZA is no setting and changes nothing. The nearest that is one is MILLRACE_ISA.",
    "The variable MILLRACE_FRIDGE is no setting and changes nothing.",
  ]);
});
