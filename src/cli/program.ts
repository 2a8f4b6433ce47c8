import { Command } from "commander";
import { version } from "../base/version.ts";

const summary =
  "Compress, evaluate, serve and load-test language models on ordinary CPUs, and say in numbers what each choice costs.";

/** Prints commander's complaint in the form of our own errors. */
function writeUsageError(command: string): (text: string, write: (text: string) => void) => void {
  return (text, write) => {
    const lines = text
      .replace(/^error: /, "")
      .trim()
      .split("\n");
    const problem = lines.map((line) => (/[.?)]$/.test(line) ? line : `${line}.`)).join(" ");
    write(`millrace: ${problem} \`${command} --help\` lists what is allowed. [invalid_option]\n`);
  };
}

/** In the order of the help page. A command brings half the project along, so one is imported only when it is needed. */
const commands: Readonly<Record<string, () => Promise<Command>>> = {
  flow: async () => (await import("./commands/flow.ts")).flowCommand(),
  serve: async () => (await import("./commands/serve.ts")).serveCommand(),
  config: async () => (await import("./commands/config.ts")).configCommand(),
  chat: async () => (await import("./commands/chat.ts")).chatCommand(),
  complete: async () => (await import("./commands/complete.ts")).completeCommand(),
  quantize: async () => (await import("./commands/quantize.ts")).quantizeCommand(),
  verify: async () => (await import("./commands/verify.ts")).verifyCommand(),
  convert: async () => (await import("./commands/convert.ts")).convertCommand(),
  evaluate: async () => (await import("./commands/evaluate.ts")).evaluateCommand(),
  rag: async () => (await import("./commands/rag.ts")).ragCommand(),
  bench: async () => (await import("./commands/bench.ts")).benchCommand(),
  compare: async () => (await import("./commands/compare.ts")).compareCommand(),
  diff: async () => (await import("./commands/diff.ts")).diffCommand(),
  simulate: async () => (await import("./commands/simulate.ts")).simulateCommand(),
  plan: async () => (await import("./commands/plan.ts")).planCommand(),
  pull: async () => (await import("./commands/pull.ts")).pullCommand(),
  list: async () => (await import("./commands/list.ts")).listCommand(),
  rm: async () => (await import("./commands/rm.ts")).rmCommand(),
  inspect: async () => (await import("./commands/inspect.ts")).inspectCommand(),
  logits: async () => (await import("./commands/logits.ts")).logitsCommand(),
  profile: async () => (await import("./commands/profile.ts")).profileCommand(),
  doctor: async () => (await import("./commands/doctor.ts")).doctorCommand(),
};

/**
 * The command line, with the command `name` alone if there is one so called, else with all of them. Nothing runs until
 * `parseAsync`.
 */
export async function createProgram(name?: string): Promise<Command> {
  const program = new Command("millrace").description(summary).version(version).exitOverride();
  // Else flags are read by the first command that has one of their name, not by the one behind which they stand.
  program.enablePositionalOptions();
  program.configureOutput({ outputError: writeUsageError("millrace") });
  const isOne = name !== undefined && Object.hasOwn(commands, name);
  for (const create of isOne ? [commands[name]!] : Object.values(commands)) {
    const command = await create();
    command.exitOverride().configureOutput({ outputError: writeUsageError(`millrace ${command.name()}`) });
    program.addCommand(command);
  }
  program.addHelpText(
    "after",
    "\nStart here:\n  millrace flow            the whole flow on the embedded model\n  millrace flow MODEL      the same on yours\n  millrace serve MODEL     an OpenAI-compatible endpoint",
  );
  return program;
}
