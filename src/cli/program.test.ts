import { readFileSync } from "node:fs";
import type { Command } from "commander";
import { describe, expect, test } from "vitest";
import { repositoryPath } from "../../tests/test-data.ts";
import { createProgram } from "./program.ts";

const program = await createProgram();
const names = program.commands.map((command) => command.name());

const commandOf = (name: string): Command => program.commands.find((command) => command.name() === name)!;

function helpOf(name: string, width: number): string {
  const command = commandOf(name);
  let text = "";
  command.configureHelp({ helpWidth: width }).configureOutput({ writeOut: (chunk) => (text += chunk) });
  command.outputHelp();
  return text;
}

/** The lines under "Examples:", without their indentation. */
function examplesOf(help: string): string[] {
  const [, below = ""] = help.split("\nExamples:\n");
  return below
    .split(/\n(?! )/)[0]!
    .split("\n")
    .map((line) => line.trim());
}

describe.each(names)("the help page of %s", (name) => {
  test("is a sentence, what is to know, arguments and flags, then examples", () => {
    const help = helpOf(name, 80);
    expect(help).toMatch(
      /^Usage: [^\n]+\n\n[A-Z][^]*\.\n\n(?:Arguments:\n[^]*\n\n)?(?:[A-Z][\w, ]+:\n[^]*\n\n)+Examples:\n {2}\S/,
    );
    expect(commandOf(name).summary()).toMatch(/^[A-Z].*[^.]$/);
  });

  test("wraps its text, and its examples never", () => {
    const [narrow, wide] = [helpOf(name, 60), helpOf(name, 120)];
    const [about = ""] = narrow.split(/\n(?:Arguments|Options|[A-Z]\w+):\n/);
    for (const line of about.split("\n").slice(1)) expect(line.length).toBeLessThanOrEqual(60);
    expect(examplesOf(narrow)).toEqual(examplesOf(wide));
  });

  test("has examples with flags that the command takes", () => {
    const own = examplesOf(helpOf(name, 80)).filter((line) => line.includes(`millrace ${name}`));
    expect(own.length).toBeGreaterThan(0);
    const known = commandOf(name).options.map((option) => option.long);
    for (const line of own) {
      const flags =
        line
          .split(`millrace ${name}`)[1]!
          .replace(/"[^"]*"/g, "")
          .match(/(?<= )--[\w-]+/g) ?? [];
      for (const flag of flags) expect(known).toContain(flag);
    }
  });

  test("has a row in the README", () => {
    const table = readFileSync(repositoryPath("README.md"), "utf8")
      .split("\n")
      .filter((line) => line.startsWith("| `millrace"));
    expect(table.map((line) => line.split("|")[1]).join("")).toMatch(new RegExp(`\\b${name}\\b`));
  });
});
