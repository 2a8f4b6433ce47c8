import { Command } from "commander";
import { version } from "../base/version.ts";
import { benchCommand } from "./commands/bench.ts";
import { chatCommand } from "./commands/chat.ts";
import { compareCommand } from "./commands/compare.ts";
import { completeCommand } from "./commands/complete.ts";
import { doctorCommand } from "./commands/doctor.ts";
import { evaluateCommand } from "./commands/evaluate.ts";
import { flowCommand } from "./commands/flow.ts";
import { inspectCommand } from "./commands/inspect.ts";
import { logitsCommand } from "./commands/logits.ts";
import { quantizeCommand } from "./commands/quantize.ts";
import { serveCommand } from "./commands/serve.ts";
import { simulateCommand } from "./commands/simulate.ts";

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

/** The whole command line. Nothing runs until `parseAsync`. */
export function createProgram(): Command {
  const program = new Command("millrace").description(summary).version(version).exitOverride();
  program.configureOutput({ outputError: writeUsageError("millrace") });
  const commands = [
    flowCommand(),
    serveCommand(),
    chatCommand(),
    completeCommand(),
    quantizeCommand(),
    evaluateCommand(),
    benchCommand(),
    compareCommand(),
    simulateCommand(),
    inspectCommand(),
    logitsCommand(),
    doctorCommand(),
  ];
  for (const command of commands) {
    command.exitOverride().configureOutput({ outputError: writeUsageError(`millrace ${command.name()}`) });
    program.addCommand(command);
  }
  program.addHelpText(
    "after",
    "\nStart here:\n  millrace flow            the whole flow on the embedded model\n  millrace flow MODEL      the same on yours\n  millrace serve MODEL     an OpenAI-compatible endpoint",
  );
  return program;
}
