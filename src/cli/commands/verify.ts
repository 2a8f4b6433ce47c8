import type { Command } from "commander";
import { countText } from "../../bench/stage-text.ts";
import { createFastestSolver } from "../../kernels/create-solver.ts";
import { verifyQuantized } from "../../quantize/verify.ts";
import { type CommandHelp, createCommand } from "../create-command.ts";
import { openModel } from "../model-source.ts";
import { printLine, TerminalProgress } from "../terminal.ts";

const help: CommandHelp = {
  summary: "Compare a quantised model with its manifest",
  details: `
Checks the hashes of the files, then reads every linear as a reader does and compares the values that its integers stand
for with those that were meant when it was made.`,
  examples: ["millrace verify ./model-w4a16"],
};

export function verifyCommand(): Command {
  return createCommand("verify", help)
    .argument("<folder>", "a folder that `millrace quantize` made")
    .action(runVerify);
}

async function runVerify(folder: string): Promise<void> {
  const solver = createFastestSolver(0);
  const { files, tensors, scheme, method } = await verifyQuantized(folder, openModel, {
    solver,
    progress: new TerminalProgress(),
  }).finally(() => solver.close());
  printLine(
    `${folder}: ${scheme} by ${method}, ${countText(files.length, "file")} and ${countText(tensors.length, "linear")} as they were made`,
  );
}
