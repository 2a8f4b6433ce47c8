const maxLength = 600;
/** Objects around a message, at most: servers have two. A body may have as many as the stack does not hold. */
const maxDepth = 4;

/**
 * What a server says in the body of a refusal: the message of OpenAI's error object, the `detail` or `message` that
 * other servers send, or the start of the text itself.
 */
export function serverMessageOf(body: string): string {
  const text = body.trim();
  const message = messageIn(parseJson(text)) ?? cut(text);
  return message === "" ? "no message" : message;
}

/** The message inside a parsed error answer, cut where it fills pages; null where there is none. */
export function messageIn(answer: unknown): string | null {
  const message = wordsIn(answer, maxDepth);
  return message === null ? null : cut(message);
}

function wordsIn(answer: unknown, depth: number): string | null {
  if (typeof answer === "string") return answer;
  if (typeof answer !== "object" || answer === null || depth === 0) return null;
  const { error, message, detail } = answer as Readonly<Record<string, unknown>>;
  return wordsIn(error, depth - 1) ?? wordsIn(message, depth - 1) ?? wordsIn(detail, depth - 1);
}

function cut(text: string): string {
  return text.length <= maxLength ? text : `${text.slice(0, maxLength)}…`;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    // Proxies answer with HTML or plain text.
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}
