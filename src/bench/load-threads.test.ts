import { type AddressInfo, createServer } from "node:net";
import { expect, test } from "vitest";
import { LoadThreads, type ThreadTarget } from "./load-threads.ts";
import { fixedLength } from "./workload/length-range.ts";

const target: ThreadTarget = {
  endpoints: [{ url: "http://127.0.0.1:9" }],
  model: "nobody",
  continuousUsage: false,
  extraBody: {},
  timeoutMs: undefined,
  workload: {
    kind: "synthetic",
    seed: 1,
    prompts: { vocabSize: 100 },
    input: fixedLength(4),
    output: fixedLength(1),
    lengths: null,
    turns: 1,
    chat: false,
    sharedPrefix: null,
    salt: null,
  },
};
const share = {
  kind: "closed",
  firstIndex: 0,
  stride: 1,
  cutMs: null,
  concurrency: 1,
  numRequests: 1,
  minMs: 0,
} as const;
const plan = { index: 0, turn: 0, prompt: "a", outputTokens: 1, dueMs: null };

test("a thread that dies fails what was asked of it, then and later, and can be closed", async () => {
  const broken = { ...target, workload: null } as unknown as ThreadTarget;
  const threads = new LoadThreads(1, broken, undefined);
  await expect(threads.warmUp(plan)).rejects.toThrow(TypeError);
  await expect(threads.run([share])).rejects.toThrow(TypeError);
  await threads.close();
});

test("a request that nobody answers is an error of its record", async () => {
  const threads = new LoadThreads(2, target, undefined);
  try {
    expect(await threads.warmUp(plan)).toMatchObject({ errorKind: "connect" });
  } finally {
    await threads.close();
  }
});

test("a load that is stopped before it begins sends nothing", async () => {
  const stop = new AbortController();
  const reason = new Error("enough");
  const threads = new LoadThreads(1, target, stop.signal);
  try {
    const run = threads.run([share]);
    stop.abort(reason);
    await expect(run).rejects.toBe(reason);
  } finally {
    await threads.close();
  }
});

test("what a listener throws ends the load, and closing it breaks off what is in flight", async () => {
  const server = createServer((socket) => {
    socket.on("data", () =>
      socket.write("HTTP/1.1 429 Full\r\ncontent-length: 0\r\nretry-after: 600\r\n\r\n"),
    );
    socket.on("error", () => {});
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const threads = new LoadThreads(2, { ...target, endpoints: [{ url }] }, undefined);
  const reason = new Error("enough");
  try {
    const run = threads.run([share, { ...share, minMs: 600_000 }], () => {
      throw reason;
    });
    await expect(run).rejects.toBe(reason);
  } finally {
    await threads.close();
    server.close();
  }
});
