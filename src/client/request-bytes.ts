/**
 * A whole HTTP/1.1 request, so that it leaves in one write: a POST of the body, a GET without one. Header values are sent
 * as they are: whoever takes them from a user checks them.
 */
export function requestBytes(
  url: URL,
  headers: Readonly<Record<string, string>>,
  body: string | null,
): string {
  const all = {
    host: url.host,
    ...headers,
    ...(body === null ? {} : { "content-length": String(Buffer.byteLength(body)) }),
  };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  return `${body === null ? "GET" : "POST"} ${url.pathname}${url.search} HTTP/1.1\r\n${lines.join("")}\r\n${body ?? ""}`;
}
