import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { EngineOutput, TokenLogprobs } from "../protocol/engine-client.ts";
import { defaultSampling } from "../protocol/sampling-params.ts";
import { emptyMessage, OpenRequests, type StepMessage } from "./open-requests.ts";
import { type DrawnLogprobs, endedByLength, StepWriter, stillOpen } from "./step-record.ts";

function openRequests(count: number): { open: OpenRequests; outputs: AsyncIterator<EngineOutput>[] } {
  const open = new OpenRequests({ generate: () => {}, score: () => {}, abort: () => {} });
  const outputs = Array.from({ length: count }, (_, index) =>
    open
      .generate({ requestId: `r${index}`, promptTokenIds: [1], sampling: defaultSampling })
      [Symbol.asyncIterator](),
  );
  return { open, outputs };
}

const message = (writer: StepWriter): StepMessage => ({
  ...emptyMessage,
  records: writer.take(),
});

function heapBytes(): number {
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

test("1,000 requests that nobody reads hold no more than 8 bytes per token", async () => {
  const numRequests = 1000;
  const numTokens = 2000;
  const { open, outputs } = openRequests(numRequests);
  const writer = new StepWriter();
  const before = heapBytes();
  for (let step = 0; step < numTokens; step += 1) {
    const end = step === numTokens - 1 ? endedByLength : stillOpen;
    for (let handle = 0; handle < numRequests; handle += 1) writer.token(handle, step, 0, end, null);
    if (step < numTokens - 1) open.receive(message(writer));
  }
  expect(open.queuedBytes).toBeLessThanOrEqual(numRequests * numTokens * 8);
  // What a request costs beside its tokens: its queue and its entries in two maps.
  expect(heapBytes() - before).toBeLessThan(numRequests * (numTokens * 8 + 4096));
  open.receive(message(writer));
  for (const reader of outputs) {
    const { value } = await reader.next();
    expect(value.finishReason).toBe("length");
    expect(value.newTokenIds.length).toBe(numTokens);
    expect((value as EngineOutput).newTokenIds.every((id, index) => id === index)).toBe(true);
    expect((await reader.next()).done).toBe(true);
  }
  expect(open.queuedBytes).toBe(0);
});

test("however late a reader is, it gets the same tokens and log-probabilities", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ numNew: fc.integer({ min: 1, max: 4 }), reads: fc.boolean() }), {
        minLength: 1,
        maxLength: 12,
      }),
      fc.integer({ min: -1, max: 3 }),
      async (steps, numTop) => {
        const { open, outputs } = openRequests(1);
        const writer = new StepWriter();
        const seen: EngineOutput[] = [];
        const expected: { id: number; logprobs: unknown }[] = [];
        for (const [index, { numNew, reads }] of steps.entries()) {
          for (let token = 0; token < numNew; token += 1) {
            const isLast = index === steps.length - 1 && token === numNew - 1;
            const drawn = drawnLogprobs(expected.length, numTop);
            writer.token(0, expected.length, 5, isLast ? endedByLength : stillOpen, drawn);
            expected.push({ id: expected.length, logprobs: plain(drawn) });
          }
          const reading = reads ? outputs[0]!.next() : null;
          open.receive(message(writer));
          if (reading !== null) seen.push((await reading).value);
        }
        for (let next = await outputs[0]!.next(); next.done !== true; next = await outputs[0]!.next())
          seen.push(next.value);
        expect(seen.flatMap(({ newTokenIds }) => [...newTokenIds])).toEqual(expected.map(({ id }) => id));
        const logprobs = seen.flatMap(({ logprobs: some, newTokenIds }): (TokenLogprobs | null)[] =>
          some === null ? newTokenIds.map(() => null) : [...some],
        );
        expect(logprobs).toEqual(expected.map((one) => one.logprobs));
        expect(seen.at(-1)).toMatchObject({ finishReason: "length", numCachedTokens: 5 });
        expect(seen.length).toBeLessThanOrEqual(steps.length);
        expect(open.numOpen).toBe(0);
      },
    ),
  );
});

/** Made up from the token's number; null where `numTop` says that none are wanted. */
function drawnLogprobs(token: number, numTop: number): DrawnLogprobs | null {
  if (numTop < 0) return null;
  return {
    logprob: -token / 2,
    rank: token + 1,
    numTop,
    topIds: Int32Array.from({ length: numTop }, (_, rank) => token * 10 + rank),
    topLogprobs: Float32Array.from({ length: numTop }, (_, rank) => -rank / 4),
    topStart: 0,
  };
}

function plain(drawn: DrawnLogprobs | null): unknown {
  if (drawn === null) return null;
  const { logprob, rank, topIds, topLogprobs } = drawn;
  return { logprob, rank, topIds: [...topIds], topLogprobs: [...topLogprobs] };
}
