import { Command } from "commander";

/** What a command's help page says beside its arguments and flags. */
export interface CommandHelp {
  /** What the command does: a sentence without its full stop. */
  readonly summary: string;
  /** Paragraphs, parted by empty lines; line breaks inside one count as spaces. */
  readonly details?: string;
  /** Command lines as a user types them. They are never wrapped, so that each can be copied. */
  readonly examples: readonly string[];
  /** Lines below the examples, printed as they are. */
  readonly notes?: string;
}

/** A command with its help page: what it does, arguments and flags in the terminal's width, then the examples. */
export function createCommand(name: string, { summary, details, examples, notes }: CommandHelp): Command {
  const paragraphs = (details ?? "")
    .split(/\n\n+/)
    .map((paragraph) => paragraph.replaceAll("\n", " ").trim());
  const description = [`${summary}.`, ...paragraphs].filter((text) => text !== "").join("\n\n");
  const shown = ["", "Examples:", ...examples.map((example) => `  ${example}`)];
  if (notes !== undefined) shown.push("", notes);
  return new Command(name).summary(summary).description(description).addHelpText("after", shown.join("\n"));
}
