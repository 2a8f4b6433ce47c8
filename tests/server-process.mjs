// A server of any make as a child process: started on a free port of the loopback address, and stopped.
import { spawn } from "node:child_process";
import { createServer } from "node:net";

const pollMs = 20;

/** A port that nobody listened on a moment ago; for servers that cannot take port 0 and tell. */
function freePort() {
  return new Promise((resolve) => {
    const probe = createServer().listen(0, "127.0.0.1", () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}

/**
 * Starts a server and waits until `/health` answers well.
 *
 * @param commandFor program and arguments for a port
 * @returns `url`, `child`, `readyMs` since the start, and `stop`, which waits for its end
 * @throws what the server said where it ends before it is ready
 */
export async function startServer(commandFor) {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const beganMs = performance.now();
  const [program, ...args] = commandFor(port);
  const child = spawn(program, args, { stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (part) => (said = (said + part).slice(-4000)));
  const gone = new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  gone.catch(() => {}); // Told by who waits for it below.
  const stop = async () => {
    child.kill("SIGTERM");
    await gone;
  };
  while (!(await isReady(url))) {
    if (child.exitCode !== null) throw new Error(`${program} ended with ${child.exitCode}:\n${said}`);
    const pause = new Promise((resolve) => setTimeout(resolve, pollMs));
    await Promise.race([pause, gone]);
  }
  return { url, child, readyMs: performance.now() - beganMs, stop };
}

async function isReady(url) {
  const response = await fetch(`${url}/health`).catch(() => undefined);
  await response?.text();
  return response?.ok === true;
}
