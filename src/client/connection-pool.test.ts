import { type AddressInfo, createServer } from "node:net";
import { expect, test } from "vitest";
import { ConnectionPool } from "./connection-pool.ts";

test("a request that meets a connection closed behind the last answer goes out again", async () => {
  let numConnections = 0;
  const server = createServer((socket) => {
    numConnections += 1;
    socket.on("error", () => undefined);
    socket.once("data", () => socket.end("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const origin = new URL(`http://127.0.0.1:${port}`);
  const pool = new ConnectionPool(0, {});
  try {
    const bodies: string[] = [];
    await new Promise<void>((resolve, reject) => {
      // The next one leaves in the call that ends the last, before the close is seen.
      const send = (): void => {
        pool.send(origin, `GET / HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\n\r\n`, {
          onHead: () => undefined,
          onBody: (bytes) => bodies.push(Buffer.from(bytes).toString()),
          onEnd: () => (bodies.length < 3 ? send() : resolve()),
          onError: reject,
        });
      };
      send();
    });
    expect(bodies).toEqual(["ok", "ok", "ok"]);
    expect(numConnections).toBe(3);
  } finally {
    pool.destroy();
    server.close();
  }
});
