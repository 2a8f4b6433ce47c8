import { MillraceError } from "../base/errors.ts";
import type { GenerationSettings } from "./task.ts";

const isText = (value: unknown): boolean => typeof value === "string";

const allowed: Readonly<Record<string, (value: unknown) => boolean>> = {
  until: (value) => isText(value) || (Array.isArray(value) && value.every(isText)),
  max_gen_toks: (value) => Number.isInteger(value) && (value as number) > 0,
  do_sample: (value) => typeof value === "boolean",
  temperature: (value) => typeof value === "number" && value >= 0,
  top_p: (value) => typeof value === "number" && value > 0 && value <= 1,
};

/** What a generation setting may be, for messages. */
export const generationForm = "until (texts), max_gen_toks, do_sample, temperature and top_p";

/** The first key whose name or value is not known; undefined where all are. */
export function wrongGenerationKey(values: Readonly<Record<string, unknown>>): string | undefined {
  return Object.keys(values).find((key) => !(Object.hasOwn(allowed, key) && allowed[key]!(values[key])));
}

/** lm-eval's `generation_kwargs`, in which no key may be wrong. */
export function toGenerationSettings(values: Readonly<Record<string, unknown>>): GenerationSettings {
  const { until, ...rest } = values as { until?: string | string[] };
  return { ...(until === undefined ? {} : { until: typeof until === "string" ? [until] : until }), ...rest };
}

/** `--gen-kwargs temperature=0.7,top_p=0.9`, or a JSON object. Throws `invalid_option`. */
export function parseGenKwargs(text: string | undefined): GenerationSettings | null {
  if (text === undefined) return null;
  const values = text.trimStart().startsWith("{") ? parseObject(text) : parsePairs(text);
  const wrong = values === null ? "" : wrongGenerationKey(values);
  if (values !== null && wrong === undefined) return toGenerationSettings(values);
  const seen =
    wrong === "" || wrong === undefined
      ? "is not of its form"
      : `sets ${wrong} to ${JSON.stringify(values?.[wrong])}`;
  throw new MillraceError(
    "invalid_option",
    `--gen-kwargs is ${JSON.stringify(text)}, which ${seen}. It takes key=value pairs with commas, or a JSON object, of ${generationForm}.`,
    { param: "--gen-kwargs" },
  );
}

function parseObject(text: string): Readonly<Record<string, unknown>> | null {
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

function parsePairs(text: string): Readonly<Record<string, unknown>> | null {
  const pairs = text.split(",").map((pair) => /^\s*(\w+)=(.*)$/s.exec(pair));
  if (!pairs.every((pair) => pair !== null)) return null;
  return Object.fromEntries(
    pairs.map(([, key = "", value = ""]) => [key, key === "until" ? value : parseScalar(value.trim())]),
  );
}

function parseScalar(text: string): unknown {
  if (/^(?:true|false)$/i.test(text)) return text.toLowerCase() === "true";
  return /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i.test(text) ? Number(text) : text;
}
