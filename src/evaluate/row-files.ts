import { gunzipSync } from "node:zlib";
import { messageOf } from "../base/errors.ts";
import { parseCsv } from "./csv.ts";
import { badRow, parseJsonRows, type Row } from "./row-reader.ts";

/**
 * The rows of a data file by the ending of its name: Parquet, JSON lines or a JSON array, comma-separated values; all but
 * the first also with `.gz`. Throws `invalid_data_file`.
 *
 * @param where the file's name for errors
 */
export function parseRowFile(bytes: Buffer, where: string): Row[] | Promise<Row[]> {
  if (where.endsWith(".parquet")) return parseParquet(bytes, where);
  const text = decodeText(bytes, where);
  if (/\.csv(\.gz)?$/.test(where)) return parseCsv(text, where);
  if (/\.(jsonl?|ndjson)(\.gz)?$/.test(where)) return parseJsonRows(text, where);
  throw badRow(where, "has an ending that no file of rows has", ".parquet, .jsonl, .json or .csv");
}

/** The text of a file, unpacked where its name ends in `.gz`. Throws `invalid_data_file`. */
export function decodeText(bytes: Buffer, file: string): string {
  if (!file.endsWith(".gz")) return bytes.toString("utf8");
  try {
    return gunzipSync(bytes).toString("utf8");
  } catch (error) {
    throw badRow(file, "is not whole gzip data", "a file written by gzip", error);
  }
}

async function parseParquet(bytes: Buffer, where: string): Promise<Row[]> {
  // Most runs read none.
  const [{ parquetReadObjects }, { compressors }] = await Promise.all([
    import("hyparquet"),
    import("hyparquet-compressors"),
  ]);
  const file = new Uint8Array(bytes).buffer;
  try {
    const rows = await parquetReadObjects({ file, compressors });
    return rows.map((row) => plainValue(row) as Row);
  } catch (error) {
    throw badRow(where, `cannot be read (${messageOf(error)})`, "a whole Parquet file", error);
  }
}

/** As JSON would have it: whole numbers of 64 bits are numbers where they fit, else their digits; dates are texts. */
function plainValue(value: unknown): unknown {
  if (typeof value === "bigint") {
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : String(value);
  }
  if (value === undefined) return null;
  if (value instanceof Date) return value.toISOString();
  if (Array.isArray(value)) return value.map(plainValue);
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, plainValue(each)]));
}
