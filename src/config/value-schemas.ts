import { z } from "zod";
import { MillraceError } from "../base/errors.ts";
import { byteUnits, parseBytes } from "../base/units.ts";

/** Number fields as the command line and the environment give them: text. */
export function integer(minimum: number, maximum = Number.MAX_SAFE_INTEGER): z.ZodCoercedNumber<unknown> {
  const range =
    maximum === Number.MAX_SAFE_INTEGER ? `of at least ${minimum}` : `from ${minimum} to ${maximum}`;
  const message = `it takes a whole number ${range}`;
  return z.coerce.number({ error: message }).int(message).min(minimum, message).max(maximum, message);
}

export function real(minimum: number, maximum: number): z.ZodCoercedNumber<unknown> {
  const message = `it takes a number from ${minimum} to ${maximum}`;
  return z.coerce.number({ error: message }).min(minimum, message).max(maximum, message);
}

export function oneOf<const T extends readonly [string, ...string[]]>(
  values: T,
): z.ZodEnum<{ [K in T[number]]: K }> {
  return z.enum(values, { error: `it takes one of ${values.join(", ")}` });
}

/** A size above 0 with a unit, in bytes. Give a default by `.prefault("32MiB")`, so that help shows its unit. */
export const bytes = z.string().transform((text, context) => {
  const size = sizeOf(text);
  if (size > 0) return size;
  context.addIssue({ code: "custom", message: `it takes a size above 0 in ${byteUnits}, such as 2GiB` });
  return z.NEVER;
});

/** 0 for what is no size. */
function sizeOf(text: string): number {
  try {
    return parseBytes(text, "it");
  } catch (error) {
    if (error instanceof MillraceError) return 0;
    throw error;
  }
}

/** A token count such as 8192, 32k or 1M (1k = 1024), or `auto`. */
export const tokenCountOrAuto = z.coerce.string().transform((text, context) => {
  if (text.trim() === "auto") return "auto";
  return tokensOf(text) ?? refuseTokens(context, "it takes a number of tokens such as 4096 or 32k, or auto");
});

/** A token count such as 8192, 32k or 1M (1k = 1024), and at least `minimum`. */
export function tokenCount(minimum: number): z.ZodType<number> {
  return z.coerce.string().transform((text, context) => {
    const count = tokensOf(text) ?? 0;
    if (count >= minimum) return count;
    return refuseTokens(context, `it takes a number of tokens such as 4096 or 32k, at least ${minimum}`);
  });
}

/** Undefined for what is none, and for 0. */
function tokensOf(text: string): number | undefined {
  const match = /^(\d+)([kKmM]?)$/.exec(text.trim());
  if (match === null) return undefined;
  const factor = { "": 1, k: 1024, m: 1024 * 1024 }[match[2]!.toLowerCase()]!;
  return Number(match[1]) * factor || undefined;
}

function refuseTokens(context: z.core.$RefinementCtx, message: string): never {
  context.addIssue({ code: "custom", message });
  return z.NEVER;
}

/** Of requests in flight, rows and tokens of a step: beyond what any machine has connections or memory for. */
const mostListed = 100_000;

/** "1,4,16" as numbers. */
export const integerList = z.string().transform((text, context) => {
  const numbers = text.split(",").map((part) => Number(part.trim()));
  if (numbers.every((number) => Number.isInteger(number) && number >= 1 && number <= mostListed))
    return numbers;
  const message = `it takes whole numbers from 1 to ${mostListed}, separated by commas`;
  context.addIssue({ code: "custom", message });
  return z.NEVER;
});

/** A number above 0, or `inf`. */
export const positiveOrInfinite = z.coerce.string().transform((text, context) => {
  const number = positiveOf(text);
  if (number > 0) return number;
  context.addIssue({ code: "custom", message: "it takes a number above 0, or inf" });
  return z.NEVER;
});

/** "0.5,2,inf" as numbers above 0. */
export const rateList = z.string().transform((text, context) => {
  const rates = text.split(",").map(positiveOf);
  if (rates.every((rate) => rate > 0)) return rates;
  const message = "it takes numbers above 0 (or inf), separated by commas, such as 0.5,1,2";
  context.addIssue({ code: "custom", message });
  return z.NEVER;
});

/** NaN for what is no number; an empty text is none. */
function positiveOf(text: string): number {
  const word = text.trim();
  if (word === "inf") return Number.POSITIVE_INFINITY;
  const number = word === "" ? Number.NaN : Number(word);
  return number === Number.POSITIVE_INFINITY ? Number.NaN : number;
}

const weightRange = "each weight from 0.001 to 1000";
const weightMessage = `it takes name=weight, separated by commas, ${weightRange}, such as gold=4,batch=0.5`;

function isWeight(weight: unknown): boolean {
  return typeof weight === "number" && weight >= 0.001 && weight <= 1000;
}

/** The same weights as code gives them. */
export const weightMap = z.custom<ReadonlyMap<string, number>>(
  (value) =>
    value instanceof Map &&
    [...value].every(([name, weight]) => typeof name === "string" && name !== "" && isWeight(weight)),
  `it takes a Map from names to weights, ${weightRange}, such as new Map([["gold", 4]])`,
);

/** "gold=4,batch=0.5" as weights by name. A name may hold "=": the last one divides. */
export const weightList = z.string().transform((text, context) => {
  const weights = new Map<string, number>();
  for (const part of text.split(",")) {
    const divider = part.lastIndexOf("=");
    const name = part.slice(0, Math.max(0, divider)).trim();
    const value = part.slice(divider + 1).trim();
    const weight = value === "" ? Number.NaN : Number(value);
    if (divider < 0 || name === "" || weights.has(name) || !isWeight(weight)) {
      const message = weights.has(name) ? `"${name}" has two weights; give it one` : weightMessage;
      context.addIssue({ code: "custom", message });
      return z.NEVER;
    }
    weights.set(name, weight);
  }
  return weights;
});

/** "a,b" as texts. */
export const textList = z.string().transform((text) =>
  text
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== ""),
);

/** The same, or a JSON list of texts, as vLLM takes them. */
export const textListOrJson = z.string().transform((text, context): readonly string[] => {
  if (!text.trimStart().startsWith("[")) return textList.parse(text);
  try {
    const list: unknown = JSON.parse(text);
    if (Array.isArray(list) && list.every((item) => typeof item === "string")) return list;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  context.addIssue({
    code: "custom",
    message: 'it takes texts with commas, or a JSON list such as ["a", "b"]',
  });
  return z.NEVER;
});

/** Origins as a browser sends them, and the words for many. */
export const originList = textListOrJson.superRefine((list, context) => {
  const isOrigin = (text: string): boolean => /^[a-z][a-z0-9+.-]*:\/\/[^/?#\s]+$/.test(text);
  const wrong = list.find((text) => !["*", "loopback", "null"].includes(text) && !isOrigin(text));
  if (wrong === undefined) return;
  const message = `${JSON.stringify(wrong)} is no origin; one is like https://a.example or http://localhost:3000`;
  context.addIssue({ code: "custom", message });
});

/** A JSON object, as text or from a configuration file. */
export const jsonObject = z.string().transform((text, context): Readonly<Record<string, unknown>> => {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) {
      return value as Record<string, unknown>;
    }
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  context.addIssue({ code: "custom", message: 'it takes a JSON object such as {"name": 1}' });
  return z.NEVER;
});

/** "name=path", or the same as a JSON object, as vLLM takes it. */
export const namedPath = z
  .string()
  .transform((text, context): { readonly name: string; readonly path: string } => {
    const named = text.trimStart().startsWith("{") ? fromJson(text) : fromText(text);
    if (named !== null) return named;
    context.addIssue({
      code: "custom",
      message: 'it takes name=path, or {"name": "...", "path": "..."}, with a name of at most 256 characters',
    });
    return z.NEVER;
  });

const namedPathObject = z.object({ name: z.string().min(1).max(256), path: z.string().min(1) });

function fromText(text: string): z.output<typeof namedPathObject> | null {
  const divider = text.indexOf("=");
  const parts = { name: text.slice(0, Math.max(0, divider)), path: text.slice(divider + 1) };
  return namedPathObject.safeParse(parts).data ?? null;
}

function fromJson(text: string): z.output<typeof namedPathObject> | null {
  const parsed = jsonObject.safeParse(text);
  return namedPathObject.safeParse(parsed.data).data ?? null;
}
