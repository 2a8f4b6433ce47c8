/** One server-sent event as it came. */
export interface NamedEvent {
  readonly name: string;
  readonly data: Readonly<Record<string, unknown>>;
}

/** The events of a stream whose events have names and JSON. */
export function readNamedEvents(text: string): NamedEvent[] {
  return text
    .split("\n\n")
    .filter((event) => event !== "")
    .map((event) => {
      const match = /^event: (\S+)\ndata: (.*)$/.exec(event);
      if (match === null)
        throw new Error(`The stream has an event without a name: ${JSON.stringify(event)}.`);
      return { name: match[1]!, data: JSON.parse(match[2]!) as Record<string, unknown> };
    });
}
