/** How a program that a model wrote ended. */
export interface ProgramOutcome {
  readonly hasPassed: boolean;
  /** "passed", "timed out", or the last line that it said. */
  readonly detail: string;
}

/** Runs Python programs that nobody has read, where they can do no harm. */
export interface CodeRunner {
  /** A program passes when it runs to its end without an exception. */
  run(program: string): Promise<ProgramOutcome>;
}
