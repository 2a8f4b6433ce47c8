import { badRow, type Row } from "./row-reader.ts";

/**
 * The rows of comma-separated values with a header line (RFC 4180): fields may stand in quotes, with quotes doubled and line
 * feeds inside. Throws `invalid_data_file`.
 */
export function parseCsv(text: string, where: string): Row[] {
  const records: string[][] = [[]];
  const field = /(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r?\n|$)/gy;
  const body = text.replace(/^\ufeff/, "");
  while (field.lastIndex < body.length) {
    const match = field.exec(body);
    if (match === null)
      throw badRow(
        `${where}, record ${records.length},`,
        "has a quote out of place",
        "fields in double quotes",
      );
    const [, quoted, plain, end] = match;
    records.at(-1)!.push(quoted?.replaceAll('""', '"') ?? plain ?? "");
    if (end !== "," && end !== "" && field.lastIndex < body.length) records.push([]);
  }
  const [header = [], ...rows] = records;
  return rows.map((values, index) => {
    if (values.length !== header.length)
      throw badRow(
        `${where}, record ${index + 2},`,
        `has ${values.length} fields`,
        `${header.length}, as the header has`,
      );
    return Object.fromEntries(header.map((name, column) => [name, values[column]]));
  });
}
