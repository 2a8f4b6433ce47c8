/** How a model writes calls of tools: JSON objects with `name` and `arguments` or `parameters`, alone or in a list. */
export interface ToolSyntax {
  /** What begins calls. */
  readonly open: readonly string[];
  /** What ends them; more text or calls may follow. */
  readonly close: readonly string[];
  /** Whether an answer that begins with JSON is calls, without a marker. */
  readonly isBare: boolean;
  /** Whether the name may stand before the object of arguments, as in `name{"city": "Oslo"}`. */
  readonly namesFirst: boolean;
}

const plain: ToolSyntax = { open: [], close: [], isBare: false, namesFirst: false };

/** As vLLM names its parsers. */
export type ToolSyntaxName = "hermes" | "llama3_json" | "mistral" | "granite" | "gemma";

export const toolSyntaxes: Readonly<Record<ToolSyntaxName, ToolSyntax>> = {
  /** Hermes, Qwen 2.5 and 3, SmolLM3, Granite 4. */
  hermes: { ...plain, open: ["<tool_call>"], close: ["</tool_call>"] },
  llama3_json: { ...plain, open: ["<|python_tag|>"], isBare: true },
  mistral: { ...plain, open: ["[TOOL_CALLS]"], namesFirst: true },
  /** Granite 3. */
  granite: { ...plain, open: ["<|tool_call|>", "<tool_call>"], close: ["</tool_call>"], isBare: true },
  /** JSON as Gemma 3 is asked for it: bare, or in a block of code. */
  gemma: { ...plain, open: ["```json", "```tool_code"], close: ["```"], isBare: true },
};

/** What a grammar of ours makes a model write where it must call: a list of calls, and nothing else. */
export const forcedSyntax: ToolSyntax = { ...plain, isBare: true };

/** In this order: templates of one kind may speak of another's markers. */
const signs: readonly (readonly [sign: string, name: ToolSyntaxName])[] = [
  ["[TOOL_CALLS]", "mistral"],
  ["<|tool_call|>", "granite"],
  ["<tool_call>", "hermes"],
  ["<|python_tag|>", "llama3_json"],
  ["ipython", "llama3_json"],
];

/** Whether a chat template shows tools to the model at all. */
export function showsTools(template: string): boolean {
  return /\btools\b/.test(template);
}

/** The syntax that a chat template asks the model for; null where it shows no tools. */
export function toolSyntaxOfTemplate(template: string): ToolSyntaxName | null {
  if (!showsTools(template)) return null;
  return signs.find(([sign]) => template.includes(sign))?.[1] ?? "gemma";
}
