import { CommanderError } from "commander";
import { exitCodeOf, isMillraceError, messageOf } from "../base/errors.ts";
import { createProgram } from "./program.ts";

/** Prints what went wrong. A bug of ours comes with its stack; a user's problem does not. */
function reportFailure(error: unknown): void {
  if (isMillraceError(error)) {
    process.stderr.write(`millrace: ${error.message} [${error.code}]\n`);
    return;
  }
  const stack = error instanceof Error ? (error.stack ?? error.message) : messageOf(error);
  process.stderr.write(`millrace: this is a fault of Millrace itself; please report it.\n${stack}\n`);
}

// `millrace inspect … | head` closes the pipe early; that is not an error.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0);
  unlessClosed(error);
});
process.stderr.on("error", unlessClosed);

/** A terminal that was closed takes no more words (EIO); the work that its SIGHUP stops still ends as it should. */
function unlessClosed(error: NodeJS.ErrnoException): void {
  if (error.code !== "EIO") throw error;
}

try {
  await (await createProgram(process.argv[2])).parseAsync(process.argv);
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2;
  else {
    reportFailure(error);
    process.exitCode = exitCodeOf(error);
  }
}
