import { expect, test } from "vitest";
import { weightList } from "./value-schemas.ts";

test("weights by name are read from one text", () => {
  expect(weightList.parse("gold=4, batch=0.5,a=b=2")).toEqual(
    new Map([
      ["gold", 4],
      ["batch", 0.5],
      ["a=b", 2],
    ]),
  );
});

test("a text that gives no clear weight is refused", () => {
  for (const text of ["", "gold", "=2", "gold=", "gold=0", "gold=-1", "gold=many", "gold=1001", "a=1,"]) {
    expect(weightList.safeParse(text).error?.message).toContain("it takes name=weight");
  }
  expect(weightList.safeParse("a=1,a=2").error?.message).toContain("has two weights");
});
