import { MillraceError } from "./errors.ts";

/** kB to TB by powers of ten (SI), KiB to TiB by powers of 1024 (IEC 80000-13). */
const byteFactors: Record<string, number> = {
  "": 1,
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  kib: 1024,
  mib: 1024 ** 2,
  gib: 1024 ** 3,
  tb: 1e12,
  tib: 1024 ** 4,
};

/** The units of a size, for messages. */
export const byteUnits = "B, KiB, MiB, GiB, TiB, KB, MB, GB or TB";

/** Reads a size such as `2GiB`, `512MB` or `1048576` as bytes. */
export function parseBytes(text: string, option: string): number {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*$/i.exec(text);
  const factor = byteFactors[match?.[2]?.toLowerCase() ?? "?"];
  if (match === null || factor === undefined) {
    throw new MillraceError(
      "invalid_option",
      `${option} is "${text}"; it takes a size such as 2GiB, 512MiB, 1.5GB or a number of bytes, in ${byteUnits}.`,
      { param: option },
    );
  }
  return Math.floor(Number(match[1]) * factor);
}

/** A size for people: binary units, three significant digits. */
export function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let unit = 0;
  while (Math.abs(value) >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toPrecision(value >= 1000 ? 4 : 3)} ${units[unit]}`;
}

/** A time span for people: `850 ms`, `12.3 s`, `4 min 05 s`. */
export function formatDuration(milliseconds: number): string {
  if (milliseconds < 1000) return `${Math.round(milliseconds)} ms`;
  const seconds = milliseconds / 1000;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const rounded = Math.round(seconds);
  return `${Math.floor(rounded / 60)} min ${String(rounded % 60).padStart(2, "0")} s`;
}

/** A count with thousands separators, the same in every locale. */
export function formatCount(count: number): string {
  return Math.round(count)
    .toString()
    .replace(/\B(?=(\d{3})+(?!\d))/g, ",");
}

/** `1 thread`, `2 threads`. */
export function countOf(count: number, noun: string): string {
  return `${formatCount(count)} ${noun}${count === 1 ? "" : "s"}`;
}
