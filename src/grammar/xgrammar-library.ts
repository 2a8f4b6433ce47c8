import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type * as XGrammar from "@mlc-ai/web-xgrammar";

/** What the library calls byte level, GPT-2's table: printable Latin-1 bytes stand for themselves, the others for characters from U+0100 upwards. */
const characters: readonly string[] = byteCharacters();

function byteCharacters(): string[] {
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => {
    const isPrintable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    return String.fromCharCode(isPrintable ? byte : next++);
  });
}

/**
 * Loads the WebAssembly build of xgrammar. Its package is marked as a module and holds a script, so that `import` fails:
 * the script is evaluated as CommonJS. What it prints before it gives up goes to `onPrint`; it then is of no more use.
 */
export function loadXGrammar(onPrint: (text: string) => void): typeof XGrammar {
  const require = createRequire(import.meta.url);
  const file = require.resolve("@mlc-ai/web-xgrammar");
  const module: { exports: unknown } = { exports: {} };
  const print = (...parts: readonly unknown[]): void => onPrint(parts.map(String).join(" "));
  const quietConsole = { ...console, log: print, warn: print, error: print };
  // The script's own free variables, as Node gives them to a CommonJS module, and a console of our own.
  // Not node:vm, whose functions may not import. The text is that of an installed package, as `import` would run it.
  // oxlint-disable-next-line typescript/no-implied-eval
  const evaluate = new Function(
    "module",
    "exports",
    "require",
    "__filename",
    "console",
    readFileSync(file, "utf8"),
  );
  evaluate(module, module.exports, require, file, quietConsole);
  return module.exports as typeof XGrammar;
}

/** A token's bytes, U+0000 to U+00FF for each, as the library wants them. */
export function toByteLevel(token: string): string {
  let text = "";
  for (let at = 0; at < token.length; at += 1) text += characters[token.charCodeAt(at)]!;
  return text;
}
