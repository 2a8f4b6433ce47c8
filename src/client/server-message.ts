const maxLength = 600;

/**
 * What a server says in the body of a refusal: the message of OpenAI's error object, the `detail` or `message` that
 * other servers send, or the start of the text itself.
 */
export function serverMessageOf(body: string): string {
  const text = body.trim();
  const message = messageIn(parseJson(text)) ?? text;
  if (message === "") return "no message";
  return message.length <= maxLength ? message : `${message.slice(0, maxLength)}…`;
}

/** The message inside a parsed error answer, or null. */
export function messageIn(answer: unknown): string | null {
  if (typeof answer === "string") return answer;
  if (typeof answer !== "object" || answer === null) return null;
  const { error, message, detail } = answer as Readonly<Record<string, unknown>>;
  return messageIn(error) ?? messageIn(message) ?? messageIn(detail);
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
