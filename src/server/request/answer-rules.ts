import { MillraceError } from "../../base/errors.ts";
import type { GrammarSpec, JsonSchema } from "../../grammar/grammar-spec.ts";
import type { ChatFormat } from "../../text/chat-output/chat-parser.ts";
import {
  type ReasoningSyntax,
  reasoningOfTemplate,
  reasoningSyntaxes,
} from "../../text/chat-output/reasoning-splitter.ts";
import {
  forcedSyntax,
  showsTools,
  type ToolSyntax,
  toolSyntaxes,
  toolSyntaxOfTemplate,
} from "../../text/chat-output/tool-syntax.ts";
import { chatTemplateOf, type ServedModel } from "../served-model.ts";
import { demand, invalidField } from "./field-errors.ts";
import type { ChatBody, ToolBody } from "./schemas.ts";
import type { Asked } from "./structured.ts";

/** What a chat's answers may hold besides content. */
export interface ChatAnswerRules extends ChatFormat {
  /** The grammar of a call that the request asks for in any case. */
  readonly forced: Asked | null;
}

/** What the model knows: a parameterless tool takes no arguments. */
const noParameters: JsonSchema = { type: "object", properties: {}, additionalProperties: false };

/**
 * How to read the answers to a chat: reasoning as the model marks it, calls as `tools` and `tool_choice` allow them.
 * Errors: `invalid_request` for a tool that is named twice or chosen but not there, and for a model whose chat template
 * shows no tools.
 *
 * @param promptText the rendered messages, whose end tells whether the answer goes on inside the reasoning
 */
export function readAnswerRules(body: ChatBody, model: ServedModel, promptText: string): ChatAnswerRules {
  const reasoning = reasoningOf(model);
  const rest = {
    reasoning,
    startsInReasoning: reasoning !== null && promptText.trimEnd().endsWith(reasoning.open),
  };
  const tools = body.tools ?? [];
  const choice = body.tool_choice ?? (tools.length === 0 ? "none" : "auto");
  checkTools(tools, choice, model);
  if (choice === "none" || tools.length === 0) return { ...rest, calls: null, forced: null };
  const names = new Set(tools.map((tool) => tool.function.name));
  const maxCalls = body.parallel_tool_calls === false ? 1 : Number.POSITIVE_INFINITY;
  if (choice === "auto") {
    const syntax = toolSyntaxOf(model);
    return { ...rest, calls: syntax === null ? null : { syntax, names, maxCalls }, forced: null };
  }
  const none = { reasoning: null, startsInReasoning: false };
  if (choice === "required") {
    const calls = { syntax: forcedSyntax, names, maxCalls };
    return {
      ...none,
      calls,
      forced: { spec: jsonOf(listOfCalls(tools, maxCalls)), param: "tools" },
    };
  }
  const { name } = choice.function;
  const at = tools.findIndex((tool) => tool.function.name === name);
  const schema = tools[at]!.function.parameters ?? noParameters;
  const param = `tools[${at}].function.parameters`;
  return { ...none, calls: { named: name }, forced: { spec: jsonOf(schema), param } };
}

/** Nobody reads the white space of a call, and models write them on one line. */
function jsonOf(schema: JsonSchema): GrammarSpec {
  return { kind: "json-schema", schema, layout: "one-line" };
}

/** Whether what begins calls or reasoning is among the tokens that an answer's text leaves out. */
export function readsSpecialTokens({ reasoning, calls }: ChatFormat, { tokenizer }: ServedModel): boolean {
  const markers = calls === null || "named" in calls ? [] : [...calls.syntax.open, ...calls.syntax.close];
  if (reasoning !== null) markers.push(reasoning.open, reasoning.close);
  return markers.some((marker) => {
    const ids = tokenizer.encode(marker, { addSpecialTokens: false });
    return ids.length === 1 && tokenizer.isSpecial(ids[0]!);
  });
}

function reasoningOf(model: ServedModel): ReasoningSyntax | null {
  const template = chatTemplateOf(model)?.source ?? "";
  const name = model.reasoning === undefined ? reasoningOfTemplate(template) : model.reasoning;
  return name === null ? null : reasoningSyntaxes[name];
}

function toolSyntaxOf(model: ServedModel): ToolSyntax | null {
  const template = chatTemplateOf(model)?.source ?? "";
  const name = model.toolSyntax === undefined ? toolSyntaxOfTemplate(template) : model.toolSyntax;
  return name === null ? null : toolSyntaxes[name];
}

function checkTools(
  tools: readonly ToolBody[],
  choice: NonNullable<ChatBody["tool_choice"]>,
  model: ServedModel,
): void {
  const names = tools.map((tool) => tool.function.name);
  const twice = names.findIndex((name, at) => names.indexOf(name) !== at);
  demand(twice === -1, `tools[${twice}].function.name`, names[twice], "a name that no other tool has");
  const isChosen = choice === "none" || choice === "auto" || tools.length > 0;
  demand(isChosen, "tool_choice", choice, "none or auto where there are no tools");
  if (typeof choice === "object" && !names.includes(choice.function.name)) {
    throw invalidField("tool_choice.function.name", choice.function.name, `one of ${names.join(", ")}`);
  }
  const template = chatTemplateOf(model);
  if (tools.length === 0 || choice === "none" || template === null || showsTools(template.source)) return;
  throw new MillraceError(
    "invalid_request",
    `The chat template of ${model.id} shows no tools to the model. Leave tools out, or start the server with a ` +
      "template that shows them (--chat-template).",
    { param: "tools" },
  );
}

/** A list of at least one call, each of a tool with its parameters. */
function listOfCalls(tools: readonly ToolBody[], maxCalls: number): JsonSchema {
  const calls = tools.map(({ function: { name, parameters } }, at) => ({
    type: "object",
    properties: {
      name: { const: name },
      arguments: withinSchema(parameters ?? noParameters, `#/items/anyOf/${at}/properties/arguments`),
    },
    required: ["name", "arguments"],
    additionalProperties: false,
  }));
  const most = Number.isFinite(maxCalls) ? { maxItems: maxCalls } : {};
  return { type: "array", minItems: 1, ...most, items: { anyOf: calls } };
}

/** A schema at another place: its references to its own root go to `place`. */
function withinSchema(schema: unknown, place: string): unknown {
  if (Array.isArray(schema)) return schema.map((item) => withinSchema(item, place));
  if (typeof schema !== "object" || schema === null) return schema;
  const entries = Object.entries(schema).map(([key, value]: [string, unknown]) => {
    const isReference = key === "$ref" && typeof value === "string" && value.startsWith("#");
    return [key, isReference ? place + value.slice(1) : withinSchema(value, place)];
  });
  return Object.fromEntries(entries) as unknown;
}
