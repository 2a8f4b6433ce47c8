import type { Logger } from "../base/logger.ts";

const levels = ["debug", "info", "warn", "error"] as const;
export type LogLevel = (typeof levels)[number];

/** Where a server's log goes: lines for people, or one JSON object per line, both on stderr. */
export async function createLogger(format: "text" | "json", least: LogLevel): Promise<Logger> {
  if (format === "text") return createTextLogger(least);
  const { pino } = await import("pino");
  // Written at once, so that nothing is lost where the process ends.
  const log = pino({ level: least, base: null }, pino.destination({ dest: 2, sync: true }));
  const write = (level: LogLevel) => (message: string, fields?: Record<string, unknown>) =>
    log[level](fields ?? {}, message);
  return { debug: write("debug"), info: write("info"), warn: write("warn"), error: write("error") };
}

/** Lines for people on stderr: `INFO 12:03:44 message key=value`. */
export function createTextLogger(least: LogLevel): Logger {
  const write = (level: LogLevel) => (message: string, fields?: Record<string, unknown>) => {
    if (levels.indexOf(level) < levels.indexOf(least)) return;
    const time = new Date().toISOString().slice(11, 19);
    const tail = Object.entries(fields ?? {}).map(([key, value]) => ` ${key}=${formatValue(value)}`);
    process.stderr.write(`${level.toUpperCase().padEnd(5)} ${time} ${message}${tail.join("")}\n`);
  };
  return { debug: write("debug"), info: write("info"), warn: write("warn"), error: write("error") };
}

function formatValue(value: unknown): string {
  if (value instanceof Error) return JSON.stringify(value.stack ?? value.message);
  return typeof value === "string" && !value.includes(" ") ? value : JSON.stringify(value);
}
