// Against what Node's own server writes and what Node's own client reads.
import { createServer, request as nodeRequest, type RequestListener } from "node:http";
import { type AddressInfo, connect } from "node:net";
import fc from "fast-check";
import { expect, test } from "vitest";
import { type ResponseHead, ResponseReader } from "./response-reader.ts";

interface Read {
  readonly status: number;
  readonly body: string;
  readonly isPersistent: boolean;
}

/** The bytes that Node's server answers with, and what Node's client makes of them. */
async function answerOf(
  listener: RequestListener,
): Promise<{ bytes: Buffer; expected: Omit<Read, "isPersistent"> }> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  try {
    const bytes = await new Promise<Buffer>((resolve) => {
      const parts: Buffer[] = [];
      const socket = connect(port, "127.0.0.1");
      socket.on("data", (part: Buffer) => parts.push(part)).on("close", () => resolve(Buffer.concat(parts)));
      socket.end("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    });
    const expected = await new Promise<Omit<Read, "isPersistent">>((resolve) => {
      nodeRequest({ port, host: "127.0.0.1" }, (response) => {
        let body = "";
        response.setEncoding("utf8").on("data", (part: string) => (body += part));
        response.on("end", () => resolve({ status: response.statusCode!, body }));
      }).end();
    });
    return { bytes, expected };
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

/** What our reader makes of the bytes, cut into pieces of the given sizes, over and over. */
function read(bytes: Uint8Array, sizes: readonly number[], closes = false): Read {
  let head: ResponseHead | null = null;
  const parts: Uint8Array[] = [];
  const reader = new ResponseReader(
    (given) => (head = given),
    (part) => parts.push(part.slice()),
  );
  for (let at = 0, i = 0; at < bytes.length; i += 1) {
    const end = Math.min(bytes.length, at + sizes[i % sizes.length]!);
    expect(reader.push(bytes.subarray(at, end))).toBe(end - at);
    at = end;
  }
  expect(closes ? reader.close() : reader.isDone).toBe(true);
  const { status } = head! as ResponseHead;
  return { status, body: Buffer.concat(parts).toString(), isPersistent: reader.isPersistent };
}

const answers: Readonly<Record<string, RequestListener>> = {
  "a stream in chunks": (_request, response) => {
    for (let i = 0; i < 30; i += 1) response.write(`data: {"text":"é${"x".repeat(i)}"}\n\n`);
    response.end("data: [DONE]\n\n");
  },
  "a stream with trailers": (_request, response) => {
    response.writeHead(200, { trailer: "x-tokens" });
    response.write("data: 1\n\n");
    response.addTrailers({ "x-tokens": "1" });
    response.end();
  },
  "a body of a known length": (_request, response) => {
    response.writeHead(503, { "content-length": 7, "retry-after": "2" }).end("loading");
  },
  "no body at all": (_request, response) => void response.writeHead(204).end(),
  "an early hint before the answer": (_request, response) => {
    response.writeEarlyHints({ link: "</a>; rel=preload" });
    response.end("behind it");
  },
};

test.each(Object.entries(answers))(
  "%s is read as Node's client reads it, however it is cut",
  async (_name, listener) => {
    const { bytes, expected } = await answerOf(listener);
    const sizes = fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(sizes, (cut) => {
        const { status, body } = read(bytes, cut);
        expect({ status, body }).toEqual(expected);
      }),
    );
  },
);

test("a body without a length ends with the connection, which then carries nothing more", () => {
  const bytes = Buffer.from("HTTP/1.0 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n");
  expect(read(bytes, [5], true)).toEqual({ status: 200, body: "data: 1\n\n", isPersistent: false });
});

test("one that is closed in mid-answer has not ended", () => {
  const reader = new ResponseReader(
    () => {},
    () => {},
  );
  reader.push(Buffer.from("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"));
  expect(reader.close()).toBe(false);
});

test.each([
  ["SSH-2.0-OpenSSH_9.2\r\n\r\n", /begins with "SSH-2.0/],
  ["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", /chunk of size "zz"/],
  ["HTTP/1.1 200 OK\r\ncontent-length: -4\r\n\r\n", /the length "-4"/],
  [`HTTP/1.1 200 OK\r\nx: ${"y".repeat(70_000)}`, /without end/],
])("%s… is refused", (text, message) => {
  const reader = new ResponseReader(
    () => {},
    () => {},
  );
  expect(() => reader.push(Buffer.from(text))).toThrow(message);
});

test.each([
  ["chunks", "transfer-encoding: chunked\r\n\r\n", "ffffffff\r\n"],
  ["a length", "content-length: 999999999999\r\n\r\n", ""],
  ["the connection", "connection: close\r\n\r\n", ""],
])("an answer without end is refused at 256 MiB where %s frames it", (_name, headers, begin) => {
  let numBytes = 0;
  const nothing = (): void => {};
  const reader = new ResponseReader(nothing, (part) => (numBytes += part.length));
  reader.push(Buffer.from(`HTTP/1.1 200 OK\r\n${headers}${begin}`));
  const part = new Uint8Array(2 ** 20);
  for (let i = 0; i < 256; i += 1) reader.push(part);
  expect(numBytes).toBe(256 * 2 ** 20);
  expect(() => reader.push(part)).toThrow("the answer has more than 256 MiB, the most that is read");
});
