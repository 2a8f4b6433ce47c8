import type { Server } from "node:http";
import type { Socket } from "node:net";

const text = "This port speaks TLS, and the request is plain HTTP. Use https:// in the address.\n";
const answer = [
  "HTTP/1.1 400 Bad Request",
  "content-type: text/plain; charset=utf-8",
  `content-length: ${text.length}`,
  "connection: close",
  "",
  text,
].join("\r\n");

/** Begins every record of a TLS handshake (RFC 8446, section 5.1). */
const handshake = 22;

/**
 * Has a server over TLS answer clients that speak plain HTTP to it with a 400 in plain text, as nginx does; without it their
 * connections just end.
 *
 * @param silenceMs how long a client may take for its first byte
 */
export function answerPlainHttp(server: Server, silenceMs: number): void {
  const listeners = server.listeners("connection") as ((socket: Socket) => void)[];
  server.removeAllListeners("connection");
  server.on("connection", (socket: Socket) => {
    const leave = (): unknown => socket.destroy();
    socket.setTimeout(silenceMs, leave);
    socket.on("error", leave);
    socket.once("readable", () => {
      const first = socket.read(1) as Buffer | null;
      if (first === null) return;
      if (first[0] !== handshake) {
        socket.end(answer);
        // What is not read would reset the connection before the answer arrives.
        socket.resume();
        return;
      }
      socket.setTimeout(0, leave);
      socket.off("error", leave);
      // TLS takes over what was read with the socket.
      socket.unshift(first);
      for (const listener of listeners) listener.call(server, socket);
    });
  });
}
