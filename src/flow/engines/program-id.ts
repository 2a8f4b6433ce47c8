import { statSync } from "node:fs";
import path from "node:path";

/** Place, size and change time of a program, looked for as a shell does; its name alone where it is not there. */
export function programIdOf(program: string, { PATH = "" }: NodeJS.ProcessEnv): string {
  const places = program.includes(path.sep)
    ? [program]
    : PATH.split(path.delimiter).map((folder) => path.join(folder, program));
  return places.map(fileIdOf).find((id) => id !== null) ?? program;
}

/** The same of the files among the words of a command: what an interpreter runs, and what it is set up by. */
export function commandIdOf(
  [program = "", ...args]: readonly string[],
  environment: NodeJS.ProcessEnv,
): string {
  return [programIdOf(program, environment), ...args.flatMap((word) => fileIdOf(word) ?? [])].join("\n");
}

/** Null for what is no file. */
function fileIdOf(file: string): string | null {
  const place = path.resolve(file);
  const stat = statSync(place, { throwIfNoEntry: false });
  return stat?.isFile() === true ? `${place} ${stat.size} ${stat.mtimeMs}` : null;
}
