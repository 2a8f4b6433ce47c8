import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type * as XGrammar from "@mlc-ai/web-xgrammar";

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
