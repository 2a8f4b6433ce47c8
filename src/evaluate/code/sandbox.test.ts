import { existsSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { CodeRunner } from "./code-runner.ts";
import { createSandbox, defaultSandboxLimits } from "./sandbox.ts";

const runner: CodeRunner | null = await createSandbox().catch(() => null);

describe.skipIf(runner === null)("a program in the sandbox", () => {
  const secret = path.join(tmpdir(), `millrace-secret-${process.pid}`);
  beforeAll(() => writeFileSync(secret, "secret"));
  afterAll(() => rmSync(secret));

  const run = (program: string): ReturnType<CodeRunner["run"]> => runner!.run(program);

  it("passes when it comes to its end", async () => {
    expect(await run("import math\nassert math.gcd(12, 18) == 6\nprint('x')")).toEqual({
      hasPassed: true,
      detail: "passed",
    });
  });

  it.each([
    ["raises", "assert 1 == 2", /AssertionError/],
    ["does not parse", "def f(:", /SyntaxError/],
    ["ends itself", "import sys; sys.exit(0)", /SystemExit/],
    ["ends without a word", "import os; os._exit(0)", /ended early/],
    ["never ends", "while True: pass", /timed out/],
    [
      "leaves a child that never ends",
      "import os\nif os.fork() == 0:\n  while True: pass\nos.wait()",
      /timed out/,
    ],
    ["takes too much memory", "x = bytearray(2 << 30)", /MemoryError/],
    ["writes too large a file", "open('big','wb').write(b'x' * (64 << 20))", /./],
    [
      "starts too many processes",
      "import os, time\nfor i in range(100):\n  if os.fork() == 0:\n    time.sleep(9)",
      /BlockingIOError/,
    ],
  ])("fails when it %s", async (_name, program, detail) => {
    const outcome = await run(program);
    expect(outcome.hasPassed).toBe(false);
    expect(outcome.detail).toMatch(detail);
  });

  it.each([
    ["reads a file of this machine", () => `open(${JSON.stringify(secret)}).read()`],
    ["lists the user's files", () => "import os; os.listdir('/root') + os.listdir('/home')"],
    ["writes to a system folder", () => "open('/usr/millrace-was-here', 'w')"],
    ["makes the old root again", () => "import os; os.chroot('..'); os.listdir('/etc')"],
    ["mounts", () => "import ctypes; assert ctypes.CDLL(None).mount(b'none', b'/work', b'tmpfs', 0, 0) == 0"],
  ])("fails when it %s", async (_name, program) => {
    const outcome = await run(program());
    expect(outcome.hasPassed).toBe(false);
    expect(existsSync("/usr/millrace-was-here")).toBe(false);
  });

  it("sees its own processes only", async () => {
    const commands = "[open(f'/proc/{p}/cmdline').read() for p in os.listdir('/proc') if p.isdigit()]";
    expect(await run(`import os\nassert all('python' in c for c in ${commands})`)).toMatchObject({
      hasPassed: true,
    });
  });

  it("reaches no server on this machine", async () => {
    let numConnections = 0;
    const server = createServer(() => {
      numConnections += 1;
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as { port: number };
    const outcome = await run(`import socket; socket.create_connection(("127.0.0.1", ${port}), 1)`);
    server.close();
    expect(outcome.hasPassed).toBe(false);
    expect(numConnections).toBe(0);
  });

  it("sees none of this process's environment", async () => {
    process.env["MILLRACE_TEST_SECRET"] = "1";
    const outcome = await run("import os; assert 'MILLRACE_TEST_SECRET' not in os.environ");
    delete process.env["MILLRACE_TEST_SECRET"];
    expect(outcome.hasPassed).toBe(true);
  });

  it("keeps its time limit", async () => {
    const quick = await createSandbox({ ...defaultSandboxLimits, timeoutMs: 1500 });
    expect(await quick.run("import time; time.sleep(600)")).toEqual({
      hasPassed: false,
      detail: "timed out",
    });
  });
});
