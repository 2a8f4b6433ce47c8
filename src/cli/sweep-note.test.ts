import { expect, test } from "vitest";
import { madeUpStage } from "../../tests/made-up-stage.ts";
import { sweepNote } from "./sweep-note.ts";

test("a sweep says where its rates come from a stage that does not count, and where there are none", () => {
  const [alone, most] = [madeUpStage(1, 100), madeUpStage(512, 900)];
  const late = { ...most, client: { ...most.client, faults: ["the client used 100 % of a core"] } };
  const some = { numRates: 8, maxConcurrency: 512 };
  expect(sweepNote([alone, most], some)).toBeNull();
  expect(sweepNote([alone, late], some)).toMatch(
    /stage with 512 in flight, which does not count, as the client used 100 % of a core: .*--client-threads 2/,
  );
  expect(sweepNote([alone, late], { ...some, numRates: 0 })).toContain("there is no rate to go up to");
});
