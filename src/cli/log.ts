import type { Logger } from "../base/logger.ts";

const levels = ["debug", "info", "warn", "error"] as const;
export type LogLevel = (typeof levels)[number];

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
