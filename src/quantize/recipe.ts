import { parse } from "yaml";
import { z } from "zod";
import { MillraceError } from "../base/errors.ts";
import type { QuantizationMethod } from "./methods.ts";
import type { QuantizePlan } from "./plan.ts";
import type { CompressedSchemeName } from "./scheme.ts";

/** The part of a plan that a recipe decides; flags make the same. */
export type RecipePlan = Pick<QuantizePlan, "scheme" | "groupSize"> &
  Required<Pick<QuantizePlan, "symmetric" | "method" | "smooth" | "ignore" | "head">>;

export interface Recipe {
  readonly plan: RecipePlan;
  /** What the user should know: fields that are read and change nothing here. */
  readonly notes: readonly string[];
}

const names = z.union([z.string().transform((name) => [name]), z.array(z.string())]);

/** compressed-tensors' QuantizationArgs, as far as they can be followed. */
const argumentsSchema = z.strictObject({
  num_bits: z.int(),
  type: z.literal("int").default("int"),
  symmetric: z.boolean().default(true),
  strategy: z.enum(["channel", "group", "token"]).optional(),
  group_size: z.int().nullable().optional(),
  dynamic: z.boolean().default(false),
  observer: z.enum(["minmax", "memoryless_minmax", "mse", "memoryless_mse"]).nullable().optional(),
  actorder: z.enum(["static", "weight"]).nullable().optional(),
});
type Arguments = z.infer<typeof argumentsSchema>;

const groupSchema = z.strictObject({
  targets: names,
  weights: argumentsSchema,
  input_activations: argumentsSchema.nullable().default(null),
  output_activations: z.null().default(null),
});

const quantizationFields = {
  targets: names.default(["Linear"]),
  ignore: names.default([]),
  scheme: z.string().optional(),
  config_groups: z.record(z.string(), groupSchema).optional(),
};

const modifierSchemas = {
  QuantizationModifier: z.strictObject(quantizationFields),
  GPTQModifier: z.strictObject({
    ...quantizationFields,
    block_size: z.int().optional(),
    dampening_frac: z.literal(0.01).optional(),
    actorder: z.enum(["static", "weight"]).nullable().optional(),
  }),
  AWQModifier: z.strictObject({ ...quantizationFields, duo_scaling: z.boolean().optional() }),
  SmoothQuantModifier: z.strictObject({
    smoothing_strength: z.number().optional(),
    ignore: z.tuple([], "names of linears that stay as they are are not followed").optional(),
  }),
};

type ModifierName = keyof typeof modifierSchemas;
type Quantization = z.infer<typeof modifierSchemas.QuantizationModifier>;

/**
 * Reads a recipe of llm-compressor: stages with modifiers, in order. Throws `invalid_data_file` for text that is none, and
 * for every modifier, field and value that is not followed, by its name.
 */
export function readRecipe(text: string, file: string): Recipe {
  const refuse = (what: string): never => {
    throw new MillraceError(
      "invalid_data_file",
      `${file} ${what}. A recipe may have ${Object.keys(modifierSchemas).join(", ")}, with int weights of one scheme. Change it, or give flags instead.`,
      { param: "--recipe" },
    );
  };
  const notes: string[] = [];
  let smooth = false;
  let found: { readonly method: QuantizationMethod; readonly fields: Quantization } | null = null;
  for (const [name, fields] of modifiersOf(parseYaml(text, refuse), refuse)) {
    if (found !== null) refuse(`has ${name} behind the modifier that quantises`);
    const parsed = modifierSchemas[name].safeParse(fields ?? {});
    if (!parsed.success) {
      const [issue] = parsed.error.issues;
      return refuse(`has ${name}.${issue?.path.join(".") ?? ""}: ${issue?.message ?? "a wrong value"}`);
    }
    notes.push(...notesOn(name, parsed.data));
    if (name === "SmoothQuantModifier") {
      smooth = true;
      continue;
    }
    smooth ||= name === "AWQModifier";
    found = { method: methodOf(name, parsed.data as Quantization), fields: parsed.data as Quantization };
  }
  if (found === null) return refuse("has no modifier that quantises");
  return { plan: { ...planOf(found.fields, refuse), method: found.method, smooth }, notes };
}

/** Fields of a modifier that are read and change nothing, each with the reason. */
const unused: Readonly<Partial<Record<ModifierName, Readonly<Record<string, string>>>>> = {
  SmoothQuantModifier: {
    smoothing_strength: "factors are chosen by the error that is expected of each",
  },
  AWQModifier: { duo_scaling: "factors are chosen by the error that is expected of each" },
  GPTQModifier: { block_size: "it changes the time and not the result" },
};

function notesOn(name: ModifierName, fields: object): string[] {
  const notes = Object.entries(unused[name] ?? {})
    .filter(([field]) => field in fields)
    .map(([field, why]) => `${field} is not used: ${why}.`);
  const { config_groups: groups = {} } = fields as Partial<Quantization>;
  const hasObserver = Object.values(groups).some(({ weights }) => (weights.observer ?? null) !== null);
  if (hasObserver && name !== "QuantizationModifier")
    notes.push(`observer is not used: ${name} searches for the least error of each group.`);
  return notes;
}

type Refuse = (what: string) => never;

function parseYaml(text: string, refuse: Refuse): unknown {
  let recipe: unknown;
  try {
    recipe = parse(text);
  } catch (error) {
    return refuse(`is not YAML (${error instanceof Error ? error.message.split("\n")[0] : String(error)})`);
  }
  try {
    // Throws where a walk would not come to an end.
    JSON.stringify(recipe);
  } catch {
    return refuse("has an alias (*name) inside the node that it stands for");
  }
  return recipe;
}

/** Modifiers of all stages: under `NAME_modifiers`, as llm-compressor writes them, or in the stage itself. */
function modifiersOf(recipe: unknown, refuse: Refuse): [ModifierName, unknown][] {
  const modifiers: [ModifierName, unknown][] = [];
  const visit = (node: unknown, place: string): void => {
    if (typeof node !== "object" || node === null || Array.isArray(node)) {
      refuse(`has ${JSON.stringify(node)} at ${place}, where stages and modifiers stand`);
    }
    for (const [name, value] of Object.entries(node as object)) {
      if (Object.hasOwn(modifierSchemas, name)) modifiers.push([name as ModifierName, value]);
      else if (/_(stage|modifiers)$/.test(name)) visit(value, name);
      else refuse(`has ${name} at ${place}, which is not followed`);
    }
  };
  visit(recipe, "its top");
  return modifiers;
}

function methodOf(name: ModifierName, { config_groups: groups = {} }: Quantization): QuantizationMethod {
  if (name === "GPTQModifier") return "gptq";
  const observers = Object.values(groups).map(({ weights }) => weights.observer ?? "minmax");
  return name === "AWQModifier" || observers.some((observer) => observer.endsWith("mse")) ? "mse" : "rtn";
}

interface SchemeChoice {
  readonly scheme: CompressedSchemeName;
  readonly groupSize: number | null;
  readonly symmetric: boolean;
}

/** llm-compressor's presets with integer weights. */
const presets: Readonly<Partial<Record<string, SchemeChoice>>> = {
  W8A8: { scheme: "w8a8", groupSize: null, symmetric: true },
  INT8: { scheme: "w8a8", groupSize: null, symmetric: true },
  W8A16: { scheme: "w8a16", groupSize: 128, symmetric: true },
  W4A16: { scheme: "w4a16", groupSize: 128, symmetric: true },
  W4A16_ASYM: { scheme: "w4a16", groupSize: 128, symmetric: false },
  W4A8: { scheme: "w4a8", groupSize: 128, symmetric: true },
};

function planOf(
  { targets, ignore, scheme, config_groups: groups }: Quantization,
  refuse: Refuse,
): Omit<RecipePlan, "method" | "smooth"> {
  // A head stays dense without being told so.
  const ignored = ignore.filter((name) => !/^(re:(\.\*)?)?\.?lm_head$/.test(name));
  if ((scheme === undefined) === (groups === undefined))
    return refuse("must say either scheme or config_groups of what quantises");
  if (scheme !== undefined) {
    if (targets.join() !== "Linear") return refuse(`has targets ${targets.join(", ")}; "Linear" is followed`);
    const preset = Object.hasOwn(presets, scheme) ? presets[scheme] : undefined;
    if (preset === undefined)
      return refuse(`has scheme ${scheme}; followed are ${Object.keys(presets).join(", ")}`);
    return { ...preset, ignore: ignored, head: "bf16" };
  }
  let choice: SchemeChoice | null = null;
  let head: "bf16" | "int8" = "bf16";
  for (const [name, group] of Object.entries(groups!)) {
    const own = schemeOf(group, name, refuse);
    const target = group.targets.join(", ");
    if (target === "Linear" && choice === null) choice = own;
    else if (target === "lm_head" && own.scheme === "w8a16" && own.groupSize === null) head = "int8";
    else
      refuse(
        `has the group ${name} with targets ${target}; "Linear" once, and "lm_head" in int8 per channel`,
      );
  }
  if (choice === null) return refuse('has no group with the target "Linear"');
  return { ...choice, ignore: ignored, head };
}

function schemeOf(
  { weights, input_activations: inputs }: z.infer<typeof groupSchema>,
  name: string,
  refuse: Refuse,
): SchemeChoice {
  const { num_bits: bits, group_size: groupSize = null, symmetric } = weights;
  const strategy = weights.strategy ?? (groupSize !== null && groupSize > 0 ? "group" : "channel");
  const scheme = `w${bits}a${inputs === null ? 16 : inputs.num_bits}` as CompressedSchemeName;
  const isKnown = ["w8a8", "w8a16", "w4a16", "w4a8", "w3a16", "w2a16"].includes(scheme);
  const isChannel = strategy === "channel" && (groupSize === null || groupSize === -1);
  const fits = scheme === "w8a8" ? isChannel : strategy === "group" || (scheme === "w8a16" && isChannel);
  if (!isKnown || !fits || weights.dynamic || !isPerToken(inputs))
    return refuse(`has the group ${name} (${scheme}, ${strategy}), which no scheme here is like`);
  return { scheme, groupSize: isChannel ? null : groupSize, symmetric };
}

/** Inputs are left as they are, or rounded token by token as they come. */
function isPerToken(inputs: Arguments | null): boolean {
  if (inputs === null) return true;
  return inputs.dynamic && inputs.symmetric && inputs.strategy !== "channel" && inputs.strategy !== "group";
}
