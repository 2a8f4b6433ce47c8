import type { Progress } from "../base/progress.ts";
import { formatDuration } from "../base/units.ts";

const barWidth = 24;
/** A redraw costs a write; ten a second look smooth. */
const redrawMs = 100;

/** Draws one bar on stderr where it is a terminal; elsewhere only the closing lines of stages appear. */
export class TerminalProgress implements Progress {
  readonly #stream: NodeJS.WriteStream;
  #label = "";
  #total = 0;
  #started = 0;
  #drawn = 0;

  constructor(stream: NodeJS.WriteStream = process.stderr) {
    this.#stream = stream;
  }

  start(label: string, total: number): void {
    this.#clear();
    this.#label = label;
    this.#total = total;
    this.#started = performance.now();
    this.#draw(0, "");
  }

  update(done: number, note = ""): void {
    if (performance.now() - this.#drawn < redrawMs && done < this.#total) return;
    this.#draw(done, note);
  }

  finish(message?: string): void {
    this.#clear();
    const time = formatDuration(performance.now() - this.#started);
    this.#stream.write(`${message ?? this.#label} (${time})\n`);
  }

  #draw(done: number, note: string): void {
    if (!this.#stream.isTTY) return;
    this.#drawn = performance.now();
    const share = this.#total === 0 ? 0 : Math.min(1, done / this.#total);
    const filled = Math.round(share * barWidth);
    const bar = "█".repeat(filled) + "░".repeat(barWidth - filled);
    const elapsed = performance.now() - this.#started;
    const left = share > 0.02 && share < 1 ? ` ${formatDuration((elapsed / share) * (1 - share))} left` : "";
    const text = `${this.#label} ${bar} ${Math.round(done)}/${Math.round(this.#total)}${left} ${note}`;
    this.#stream.write(`\r\x1b[2K${text.slice(0, Math.max(20, this.#stream.columns - 1))}`);
  }

  #clear(): void {
    if (this.#stream.isTTY) this.#stream.write("\r\x1b[2K");
  }
}

/** Rows under a header, columns padded; numbers to the right. */
export function formatTable(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = header.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => (row[column] ?? "").length)),
  );
  const isNumber = header.map((_, column) =>
    rows.every((row) => /^[-+±*–\d.,%×/ ]*$/.test(row[column] ?? "")),
  );
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) =>
        isNumber[column] ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!),
      )
      .join("  ")
      .trimEnd();
  return [line(header), line(widths.map((width) => "-".repeat(width))), ...rows.map(line)].join("\n");
}

export function printLine(text: string): void {
  process.stdout.write(`${text}\n`);
}

export function printNote(text: string): void {
  process.stderr.write(`${text}\n`);
}
