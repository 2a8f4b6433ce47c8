import { Environment, Interpreter, parse, tokenize } from "@huggingface/jinja";
import { messageOf } from "../../base/errors.ts";
import { capitalize, strip, stripEnd, stripStart } from "../python-text.ts";
import { badRow, type Row } from "../row-reader.ts";
import { invalidTask } from "./definition.ts";
import { pythonStr } from "./python-literal.ts";

/** A node of the parsed template. */
interface TemplateNode {
  type: string;
  [key: string]: unknown;
}

/** The interpreter's own values: numbers and texts bare, lists and maps of wrapped values. */
interface Wrapped {
  readonly value: unknown;
}

/** What an expression's text is made by. */
const printName = "__print";
const methodName = (name: string): string => `__${name}`;

/** Methods that the interpreter has and that do what Python's do. */
const plainMethods: ReadonlySet<string> = new Set(
  "upper lower title split replace startswith endswith items keys values get".split(" "),
);

/** Methods that it has not, or that differ from Python's. */
const ownMethods: Readonly<Record<string, (self: unknown, ...args: unknown[]) => unknown>> = {
  index: (self, item) => {
    const list = unwrap(self) as string | unknown[];
    const at = list.indexOf(item as string);
    if (at === -1) throw new Error(`${pythonStr(item)} is not in ${pythonStr(list)}`);
    return at;
  },
  strip: (self, ...rest) => strip(onlyText(self, rest)),
  lstrip: (self, ...rest) => stripStart(onlyText(self, rest)),
  rstrip: (self, ...rest) => stripEnd(onlyText(self, rest)),
  capitalize: (self, ...rest) => capitalize(onlyText(self, rest)),
  join: (self, list) => (unwrap(list) as unknown[]).map(pythonStr).join(String(self)),
};

const statements: ReadonlySet<string> = new Set(["If", "For", "Break", "Continue", "Set", "Comment"]);

/**
 * A Jinja template over a row, as lm-eval renders it: no white space is cut, lists and truth values print as Python
 * prints them, and a field that a row lacks is an error.
 */
export class RowTemplate {
  readonly #program: TemplateNode;
  readonly #isOneExpression: boolean;
  readonly #source: string;

  /** Throws `invalid_task` for what is no template, and by name for methods that would not do what Python's do. */
  constructor(source: string, where: string) {
    this.#source = source;
    try {
      // The interpreter cuts one line feed at the end.
      const whole = source.endsWith("\n") ? `${source}\n` : source;
      this.#program = parse(tokenize(whole, {})) as unknown as TemplateNode;
      const body = this.#program["body"] as TemplateNode[];
      this.#isOneExpression = body.length === 1 && isPrinted(body[0]!);
      prepareBody(body);
    } catch (error) {
      throw invalidTask(
        where,
        `has a template that cannot be used: ${messageOf(error)}`,
        "Correct it",
        error,
      );
    }
  }

  /** Throws `invalid_data_file` where the row does not fit. */
  text(row: Row, where: string): string {
    return this.#run(row, where).text;
  }

  /** Of a template that is one expression its value, a list for example; else the text. Errors as for `text`. */
  value(row: Row, where: string): unknown {
    const { text, last } = this.#run(row, where);
    return this.#isOneExpression ? last : text;
  }

  #run(row: Row, where: string): { readonly text: string; readonly last: unknown } {
    const environment = new Environment();
    let last: unknown;
    const print = (value: unknown): string => {
      if (value === undefined) throw new Error("a field that it names is not there");
      last = unwrap(value);
      return pythonStr(last);
    };
    try {
      for (const [key, value] of Object.entries(row)) environment.set(key, value);
      environment.set(printName, print);
      for (const [name, method] of Object.entries(ownMethods)) environment.set(methodName(name), method);
      const result = new Interpreter(environment).run(this.#program as never) as unknown as Wrapped;
      return { text: result.value as string, last };
    } catch (error) {
      throw badRow(
        where,
        `does not fit the template ${JSON.stringify(this.#source)} (${messageOf(error)})`,
        "a row with every field that the task's templates name",
        error,
      );
    }
  }
}

function unwrap(value: unknown): unknown {
  if (Array.isArray(value)) return value.map((item: Wrapped) => unwrap(item.value));
  if (!(value instanceof Map)) return value;
  return Object.fromEntries(
    Array.from(value, ([key, item]) => [String(key), unwrap((item as Wrapped).value)]),
  );
}

function onlyText(self: unknown, rest: readonly unknown[]): string {
  if (typeof self === "string" && rest.length === 0) return self;
  throw new Error("strip, lstrip, rstrip and capitalize take a text and no argument here");
}

function isPrinted({ type }: TemplateNode): boolean {
  return type !== "StringLiteral" && !statements.has(type);
}

/** Makes every printed expression print as in Python, in the bodies of loops and conditions too. */
function prepareBody(body: TemplateNode[]): void {
  for (const [at, node] of body.entries()) {
    if (node.type === "Macro" || node.type === "CallStatement" || node.type === "FilterStatement") {
      throw new Error(`${node.type} blocks are not supported`);
    }
    prepareMethods(node);
    if (isPrinted(node)) body[at] = callOf(printName, [node]);
    for (const inner of ["body", "alternate", "defaultBlock"]) {
      if (Array.isArray(node[inner])) prepareBody(node[inner] as TemplateNode[]);
    }
  }
}

/** Sends calls of methods to functions of ours where that is needed, and refuses those that are not known. */
function prepareMethods(node: TemplateNode): void {
  for (const [key, value] of Object.entries(node)) {
    if (["body", "alternate", "defaultBlock"].includes(key) && statements.has(node.type)) continue;
    for (const child of Array.isArray(value) ? (value as unknown[]) : [value]) {
      if (isNode(child)) prepareMethods(child);
    }
  }
  if (node.type !== "CallExpression" || !isNode(node["callee"])) return;
  const { type, object, property, computed } = node["callee"];
  if (type !== "MemberExpression" || computed === true || !isNode(object) || !isNode(property)) return;
  const name = String(property["value"]);
  if (plainMethods.has(name)) return;
  if (!Object.hasOwn(ownMethods, name)) {
    const known = [...plainMethods, ...Object.keys(ownMethods)].sort().join(", ");
    throw new Error(`.${name}() is not supported; there are ${known}`);
  }
  Object.assign(node, callOf(methodName(name), [object, ...(node["args"] as TemplateNode[])]));
}

function callOf(name: string, args: readonly TemplateNode[]): TemplateNode {
  return { type: "CallExpression", callee: { type: "Identifier", value: name }, args: [...args] };
}

function isNode(value: unknown): value is TemplateNode {
  return (
    typeof value === "object" && value !== null && typeof (value as { type?: unknown }).type === "string"
  );
}
