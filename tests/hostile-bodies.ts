import { Buffer } from "node:buffer";

/** A request body that no honest client sends, and what is wrong with it. */
export interface HostileBody {
  readonly name: string;
  readonly path: string;
  readonly body: string | Buffer;
}

const paths = [
  "/v1/chat/completions",
  "/v1/completions",
  "/v1/responses",
  "/v1/messages",
  "/tokenize",
] as const;

/** What each endpoint takes, so that one field alone is at fault. */
const good: Readonly<Record<(typeof paths)[number], object>> = {
  "/v1/chat/completions": { messages: [{ role: "user", content: "a" }] },
  "/v1/completions": { prompt: "a" },
  "/v1/responses": { input: "a" },
  "/v1/messages": { messages: [{ role: "user", content: "a" }], max_tokens: 4 },
  "/tokenize": { prompt: "a" },
};

const malformed: readonly (readonly [string, string | Buffer])[] = [
  ["nothing", ""],
  ["half an object", '{"prompt":'],
  ["a bare word", "undefined"],
  ["a number", "1"],
  ["a text", '"a"'],
  ["a list", "[{}]"],
  ["null", "null"],
  ["single quotes", "{'prompt':'a'}"],
  ["a trailing comma", '{"prompt":"a",}'],
  ["NaN", '{"prompt":"a","temperature":NaN}'],
  ["two objects", "{}{}"],
  ["control characters", '{"prompt":"\u0001"}'],
  ["a byte order mark twice", "\ufeff\ufeff{}"],
  ["bytes that are not UTF-8", Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d])],
  ["UTF-16", Buffer.from('{"prompt":"a"}', "utf16le")],
  ["deep lists", `{"x":${"[".repeat(50_000)}${"]".repeat(50_000)}}`],
  ["deep objects", `{"x":${'{"a":'.repeat(20_000)}1${"}".repeat(20_000)}}`],
  ["an unfinished nest", "[".repeat(1_000_000)],
];

/** Values for any field, whatever it takes: few fields take more than one of them. */
const values: readonly (readonly [string, unknown])[] = [
  ["a huge number", 1e308],
  ["a negative number", -1e9],
  ["a fraction", 0.123456789],
  ["a long text", "x".repeat(200_000)],
  ["half a surrogate pair", "\ud800"],
  ["nulls in a list", [null, null]],
  ["a list of everything", [1, "a", {}, [], null, true]],
  ["an object", { __proto__: null, constructor: { prototype: {} } }],
];

const targets: Readonly<Record<(typeof paths)[number], readonly string[]>> = {
  "/v1/chat/completions": ["messages", "max_tokens", "tools", "response_format", "stop_token_ids", "seed"],
  "/v1/completions": ["prompt", "max_tokens", "logit_bias", "n", "logprobs", "stop"],
  "/v1/responses": ["input", "max_output_tokens", "tools", "text", "top_p"],
  "/v1/messages": ["messages", "max_tokens", "system", "tools", "thinking", "stop_sequences"],
  "/tokenize": ["messages", "chat_template_kwargs"],
};

/** Values that a field may well take. */
const harmless: ReadonlySet<string> = new Set([
  "/v1/completions stop half a surrogate pair",
  "/v1/completions stop a long text",
  "/v1/responses top_p a fraction",
  "/tokenize chat_template_kwargs an object",
  "/v1/completions logit_bias an object",
  "/v1/chat/completions seed a negative number",
  "/v1/responses text an object",
]);

function schemaBody(schema: unknown): string {
  const response_format = { type: "json_schema", json_schema: { name: "x", schema } };
  return JSON.stringify({ ...good["/v1/chat/completions"], response_format });
}

function nestedSchema(depth: number): unknown {
  let schema: unknown = { type: "string" };
  for (let level = 0; level < depth; level += 1) schema = { type: "array", items: schema };
  return schema;
}

const wide = Object.fromEntries(Array.from({ length: 6000 }, (_, at) => [`p${at}`, { type: "string" }]));

const schemaBombs: readonly (readonly [string, unknown])[] = [
  ["a schema of no kind", 5],
  ["a schema that is a list", []],
  ["a schema of 200 levels", nestedSchema(200)],
  ["a schema of 6000 properties", { type: "object", properties: wide }],
  ["a reference to nothing", { $ref: "#/$defs/none" }],
  ["a reference elsewhere", { $ref: "https://example.org/schema.json" }],
  ["an unknown keyword", { type: "string", contentEncoding: "base64" }],
  ["a length that is no whole number", { type: "string", minLength: 1.5 }],
  ["bounds that leave nothing", { type: "integer", minimum: 5, maximum: 1 }],
  ["a pattern with a look-ahead", { type: "string", pattern: "(?=a)b" }],
  ["a pattern with a back reference", { type: "string", pattern: "(a)\\1" }],
  ["a pattern that is not closed", { type: "string", pattern: "((((" }],
  ["if and else", { if: { type: "string" }, else: {} }],
  ["not", { not: { type: "string" } }],
];

const structuredBombs: readonly (readonly [string, object])[] = [
  ["an expression with nested repeats", { regex: "((a{1,1000}){1,1000}){1,1000}" }],
  ["an expression that is not closed", { regex: "(".repeat(5000) }],
  ["an empty list of choices", { choice: [] }],
  ["choices of the wrong kind", { choice: [1, {}] }],
  ["a grammar of noise", { grammar: "::= ::= ::=" }],
  ["a grammar without a root", { grammar: 'leaf ::= "a"' }],
  ["two kinds at once", { regex: "a", choice: ["a"] }],
  ["JSON that is no schema", { json: "{" }],
];

/** Some two hundred bodies; every one has to be refused with a status from 400 to 499. */
export function hostileBodies(maxBodyBytes: number): HostileBody[] {
  const ofNoForm = paths.flatMap((path) => malformed.map(([name, body]) => ({ name, path, body })));
  const ofWrongKind = paths.flatMap((path) =>
    targets[path].flatMap((field) =>
      values
        .filter(([name]) => !harmless.has(`${path} ${field} ${name}`))
        .map(([name, value]) => ({
          name: `${field}: ${name}`,
          path,
          body: JSON.stringify({ ...good[path], [field]: value }),
        })),
    ),
  );
  const chat = "/v1/chat/completions";
  const bombs = schemaBombs.map(([name, schema]) => ({ name, path: chat, body: schemaBody(schema) }));
  const structured = structuredBombs.map(([name, structured_outputs]) => ({
    name,
    path: chat,
    body: JSON.stringify({ ...good[chat], structured_outputs }),
  }));
  const giant = paths.map((path) => ({
    name: "more bytes than are taken",
    path,
    body: JSON.stringify({ ...good[path], padding: "x".repeat(maxBodyBytes) }),
  }));
  return [...ofNoForm, ...ofWrongKind, ...bombs, ...structured, ...giant];
}
