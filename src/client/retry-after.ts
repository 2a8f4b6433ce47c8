/**
 * Seconds after which a server asks to come again: `Retry-After` as a number or as a date (RFC 9110, section 10.2.3),
 * which is told by the server's own clock where the answer has one. Null where it does not say, or says something else.
 */
export function retryAfterSecondsOf(headers: ReadonlyMap<string, string>): number | null {
  const text = headers.get("retry-after")?.trim() ?? "";
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text);
  // A date without its letters would be read as a year: `-5` is none.
  const at = /^[A-Z]/i.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(at)) return null;
  const told = Date.parse(headers.get("date") ?? "");
  return Math.max(0, at - (Number.isNaN(told) ? Date.now() : told)) / 1000;
}
