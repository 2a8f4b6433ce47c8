import { parentPort, workerData } from "node:worker_threads";
import type { CompiledGrammar, GrammarCompiler } from "@mlc-ai/web-xgrammar";
import { messageOf } from "../base/errors.ts";
import { invariant } from "../base/invariant.ts";
import type { TokenMaskChannel } from "../protocol/token-mask-channel.ts";
import type { GrammarCommand, GrammarReport, GrammarVocabulary, LibrarySpec } from "./grammar-messages.ts";
import { failChannel, keepMask } from "./mask-keeper.ts";
import { Utf8Guard } from "./utf8-guard.ts";
import { loadXGrammar, toByteLevel } from "./xgrammar-library.ts";

// A thread that compiles grammars and keeps the masks of those that are in use. The library ends by an abort of its
// WebAssembly where a grammar is wrong, so that new grammars are tried in a thread that nobody else needs.

invariant(parentPort !== null, "grammar-thread runs in a worker thread only");
const port = parentPort;
const { tokens, endTokenIds, maxKept } = workerData as GrammarVocabulary;

let printed = "";
const library = loadXGrammar((text) => {
  if (/FATAL|ERROR/.test(text)) printed = text;
});
const compiler = createCompiler();
const guard = new Utf8Guard(tokens);
/** By the JSON of what they were made of, the one used last at the end. */
const grammars = new Map<string, Promise<CompiledGrammar>>();

async function createCompiler(): Promise<GrammarCompiler> {
  const vocabulary = await library.TokenizerInfo.createTokenizerInfo(
    tokens.map(toByteLevel),
    "byte_level",
    false,
    tokens.length,
    [...endTokenIds],
  );
  return library.GrammarCompiler.createGrammarCompiler(vocabulary, false);
}

port.on("message", (command: GrammarCommand) => {
  if (command.kind === "compile") void compile(command.id, command.spec);
  else void open(command.spec, command.channel);
});

async function compile(id: number, spec: LibrarySpec): Promise<void> {
  try {
    await grammarOf(spec);
    report({ kind: "compiled", id });
  } catch (error) {
    report({ kind: "failed", id, reason: reasonIn(printed) ?? messageOf(error) });
  }
}

async function open(spec: LibrarySpec, channel: TokenMaskChannel): Promise<void> {
  try {
    await keepMask(library, await grammarOf(spec), channel, { guard, endTokenIds });
  } catch {
    failChannel(channel);
  }
}

function grammarOf(spec: LibrarySpec): Promise<CompiledGrammar> {
  const key = JSON.stringify(spec);
  const grammar = grammars.get(key) ?? compiler.then((own) => compileSpec(own, spec));
  grammars.delete(key);
  grammars.set(key, grammar);
  for (const [oldest, old] of grammars) {
    if (grammars.size <= maxKept) break;
    grammars.delete(oldest);
    // Matchers that still run hold their own share of it.
    void old.then((unused) => unused.dispose()).catch(() => {});
  }
  return grammar;
}

function compileSpec(own: GrammarCompiler, spec: LibrarySpec): Promise<CompiledGrammar> {
  if (spec.kind === "ebnf") return own.compileGrammar(spec.grammar);
  return own.compileStructuralTag({
    type: "structural_tag",
    format: { type: "regex", pattern: spec.pattern },
  });
}

/** `[FATAL] /path/file.cc:75: Regex parsing error …` → the last part. */
function reasonIn(text: string): string | null {
  const reason = /\.cc:\d+: (?:Check failed: \(.*?\) is false: )?(.+)/s.exec(text)?.[1];
  return reason?.trim() ?? null;
}

function report(message: GrammarReport): void {
  port.postMessage(message);
}
