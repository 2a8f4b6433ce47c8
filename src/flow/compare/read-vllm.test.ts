import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { repositoryPath } from "../../../tests/test-data.ts";
import { levelName } from "../../records/load-level.ts";
import { joinVllm, vllmSchema } from "./read-vllm.ts";

const file = repositoryPath("tests/golden/recorded/load-dialects/vllm-serve.json");
const recorded = JSON.parse(readFileSync(file, "utf8")) as object;

test("results of several loads are one run with the settings of all", () => {
  const results = [{ num_prompts: 16 }, { num_prompts: 200, burstiness: 0.5 }].map((change) =>
    vllmSchema.parse({ ...recorded, max_concurrency: null, ...change }),
  );
  const { levels, settings } = joinVllm("v", results);
  expect(levels.map(levelName)).toEqual(["16 at once", "200 at once"]);
  expect(settings).toMatchObject({ requestsAtOnce: "16, 200", burstiness: "1, 0.5", model_id: "scripted" });
});
