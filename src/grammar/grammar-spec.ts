/** What an answer has to follow, in the forms that requests name. All fields are plain data. */
export type GrammarSpec =
  /** A JSON text that the schema (draft 2020-12, the part of `checkJsonSchema`) holds for. */
  | { readonly kind: "json-schema"; readonly schema: JsonSchema; readonly layout?: JsonLayout }
  /** The whole answer matches, in the syntax of JavaScript without look-around and back-references. */
  | { readonly kind: "regex"; readonly pattern: string }
  /** One of these texts. */
  | { readonly kind: "choice"; readonly choices: readonly string[] }
  /** EBNF as xgrammar reads it (GBNF of llama.cpp, nearly), from the rule `root`. */
  | { readonly kind: "ebnf"; readonly grammar: string };

/**
 * White space between the parts of a JSON text: `free` is up to the model, the default; `one-line` is a space after each
 * comma and colon and nothing else, as Python's `json.dumps` writes it; values of `const` and `enum` have none.
 */
export type JsonLayout = "free" | "one-line";

export type JsonSchema = boolean | { readonly [keyword: string]: unknown };

/** Any JSON object. */
export const anyObject: JsonSchema = { type: "object", additionalProperties: true };

/**
 * Most characters of white space in one place of a JSON text. A model that may write any number of them may never come
 * to an end.
 */
export const maxWhitespace = 8;
