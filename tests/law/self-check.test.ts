import { expect, test } from "vitest";
import { createInProcessClient } from "../../src/engine/in-process-client.ts";
import { KvMoveList } from "../../src/engine/kv-move-list.ts";
import { openCheckpoint } from "../../src/formats/open-checkpoint.ts";
import { createOps } from "../../src/kernels/create-ops.ts";
import { mapFile } from "../../src/kernels/map-file.ts";
import type { KvCache, KvDtype, Ops } from "../../src/kernels/ops.ts";
import { loadModel } from "../../src/model/load-model.ts";
import type { EngineClient } from "../../src/protocol/engine-client.ts";
import { defaultSampling } from "../../src/protocol/sampling-params.ts";
import { engineOver } from "../context-engine.ts";
import { answer, firstDifference } from "./answer.ts";
import { isas, pebble } from "./law-settings.ts";

// The self-check of the prefix cache on real kernels: what is known is computed anew and compared byte by byte.

const blockSize = 16;
const numBlocks = 24;

interface Bench {
  readonly ops: Ops;
  readonly cache: KvCache;
  readonly client: EngineClient;
}

async function withEngine(
  isa: string,
  dtype: KvDtype,
  isPrefixChecking: boolean,
  use: (bench: Bench) => Promise<void>,
): Promise<void> {
  const { ops } = createOps({ numThreads: 1, backend: "auto", ...(isa === "auto" ? {} : { isa }) });
  const checkpoint = openCheckpoint(pebble.path, { mapFile });
  const { model } = loadModel(ops, checkpoint, { dtype: "auto", activations: "auto", maxModelLen: 64 });
  checkpoint.close();
  const cache = ops.createKvCache({ ...model.kvShape, numBlocks, blockSize, dtype });
  const client = createInProcessClient(engineOver({ ops, model, cache }, { isPrefixChecking }));
  try {
    await use({ ops, cache, client });
  } finally {
    await client.close();
  }
}

const cases = isas.flatMap((isa) =>
  (["f32", "f16", "bf16", "int8"] as const).map((dtype) => [isa, dtype] as const),
);

const promptTokenIds = Array.from({ length: 41 }, (_, index) => 20 + ((index * 37) % 900));
const ask = (client: EngineClient, id: string) =>
  answer(client, id, {
    promptTokenIds,
    sampling: { ...defaultSampling, maxTokens: 6, ignoreEos: true, seed: 3n, logprobs: 2 },
  });

test.each(cases)(
  "on %s with a %s cache, blocks that are computed again are the same bytes",
  async (isa, dtype) => {
    await withEngine(isa, dtype, true, async ({ client }) => {
      const first = await ask(client, "first");
      // In company, and behind a prompt that shares half of a block.
      const [again] = await Promise.all([
        ask(client, "again"),
        ...[7, 23, 38].map((length) =>
          answer(client, `other${length}`, {
            promptTokenIds: [...promptTokenIds.slice(0, length), 11, 12, 13],
            sampling: { ...defaultSampling, maxTokens: 20, ignoreEos: true, seed: 4n },
          }),
        ),
      ]);
      expect(firstDifference(first, again!)).toBeNull();
      expect(await client.stats()).toMatchObject({ numPrefixMismatches: 0, prefixCacheHits: 0 });
    });
  },
);

test.each(cases)(
  "on %s with a %s cache, a planted wrong block is found and kept out of the answer",
  async (isa, dtype) => {
    for (const isChecking of [true, false]) {
      await withEngine(isa, dtype, isChecking, async ({ ops, cache, client }) => {
        const first = await ask(client, "first");
        const moves = new KvMoveList();
        moves.copy(1, 0, blockSize);
        ops.moveKv(cache, null, moves);
        const again = await ask(client, "again");
        const { numPrefixMismatches } = await client.stats();
        expect(numPrefixMismatches).toBe(isChecking ? 1 : 0);
        if (isChecking) expect(firstDifference(first, again)).toBeNull();
        else expect(firstDifference(first, again)).not.toBeNull();
      });
    }
  },
);
