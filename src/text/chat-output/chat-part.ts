/** A piece of an answer, in the order in which the model wrote it. Pieces of one kind that follow each other add up. */
export type ChatPart =
  | { readonly kind: "content"; readonly text: string }
  | { readonly kind: "reasoning"; readonly text: string }
  /** A call begins; its arguments follow. `index` counts the answer's calls. */
  | { readonly kind: "call"; readonly index: number; readonly name: string }
  /** More of a call's arguments, JSON text as the model wrote it. */
  | { readonly kind: "arguments"; readonly index: number; readonly text: string };

export function contentOf(text: string): ChatPart[] {
  return text === "" ? [] : [{ kind: "content", text }];
}
