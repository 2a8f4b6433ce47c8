/** What a reader has learnt from more text. */
export interface CallNews {
  /** Once, when the call's name is known and its arguments have begun or it has ended. */
  readonly name?: string;
  /** More of the arguments. */
  readonly text: string;
  readonly state: "open" | "done" | "broken";
  /** Characters of the text that belong to the call; the others follow it. */
  readonly numTaken: number;
}

const space = /\s/;
const argumentKeys: readonly string[] = ["arguments", "parameters"];

type Place = "start" | "key" | "colon" | "value" | "after";

/**
 * Reads one call that a model writes as a JSON object with `name` and `arguments` (or `parameters`), in any order, while
 * it comes. Arguments are given out as they are written; other keys are passed over. Arguments that are a text, which
 * some models write, are given as the text says.
 */
export class CallReader {
  #place: Place = "start";
  #key = "";
  /** Characters of the value that is being read. */
  #value = "";
  #scan: ValueScan | null = null;
  #name: string | null = null;
  #isAnnounced = false;
  /** Arguments that came before the name. */
  #held = "";
  #hasArguments = false;
  /** Whether the call is its arguments alone. */
  #isBareObject = false;

  readonly #isKnown: (name: string) => boolean;

  /** @param isKnown a name that is not known breaks the call where it ends */
  constructor(isKnown: (name: string) => boolean = () => true) {
    this.#isKnown = isKnown;
  }

  /** A reader of what follows a name: the object of arguments. */
  static ofName(name: string): CallReader {
    const reader = new CallReader();
    reader.#name = name;
    reader.#key = "arguments";
    reader.#place = "value";
    reader.#isBareObject = true;
    return reader;
  }

  push(text: string): CallNews {
    let given = "";
    const wasAnnounced = this.#isAnnounced;
    for (let at = 0; at < text.length; at += 1) {
      const step = this.#take(text[at]!);
      given += step.text;
      if (step.state !== "open") return this.#news(given, wasAnnounced, step.state, at + 1);
    }
    return this.#news(given, wasAnnounced, "open", text.length);
  }

  get isAnnounced(): boolean {
    return this.#isAnnounced;
  }

  #news(text: string, wasAnnounced: boolean, state: CallNews["state"], numTaken: number): CallNews {
    const isNew = this.#isAnnounced && !wasAnnounced;
    return { ...(isNew ? { name: this.#name! } : {}), text, state, numTaken };
  }

  #take(char: string): Pick<CallNews, "text" | "state"> {
    if (this.#place === "value") return this.#takeValue(char);
    if (space.test(char)) return going("");
    switch (this.#place) {
      case "start":
        return char === "{" ? this.#goTo("key") : broken;
      case "key":
        if (char === "}") return this.#end();
        if (char !== '"') return broken;
        this.#beginValue(char);
        this.#key = "";
        return going("");
      case "colon":
        return char === ":" ? this.#goTo("value") : broken;
      case "after":
        if (char === ",") return this.#goTo("key");
        return char === "}" ? this.#end() : broken;
    }
  }

  #goTo(place: Place): Pick<CallNews, "text" | "state"> {
    this.#place = place;
    this.#scan = null;
    return going("");
  }

  #beginValue(char: string): void {
    this.#place = "value";
    this.#value = char;
    this.#scan = new ValueScan(char);
  }

  /** A key is read as a value too: `#key` is empty until one is known. */
  #takeValue(char: string): Pick<CallNews, "text" | "state"> {
    if (this.#scan === null) {
      if (space.test(char)) return going("");
      this.#beginValue(char);
      if (this.#scan!.isBroken) return broken;
      return going(this.#isStreamed() ? this.#give(char) : "");
    }
    const result = this.#scan.push(char);
    if (result === "broken") return broken;
    if (result === "before") {
      const ended = this.#endValue();
      if (ended.state !== "open") return ended;
      const next = this.#take(char);
      return { text: ended.text + next.text, state: next.state };
    }
    this.#value += char;
    const text = this.#isStreamed() ? this.#give(char) : "";
    if (result === "open") return going(text);
    const ended = this.#endValue();
    return { text: text + ended.text, state: ended.state };
  }

  /** Whether this value is arguments that are an object: given out as they come. */
  #isStreamed(): boolean {
    return argumentKeys.includes(this.#key) && this.#value.startsWith("{");
  }

  #endValue(): Pick<CallNews, "text" | "state"> {
    const value = this.#value;
    this.#scan = null;
    if (this.#key === "") {
      const key = parseText(value);
      if (key === null || key === "") return broken;
      this.#key = key;
      return this.#goTo("colon");
    }
    const key = this.#key;
    this.#place = "after";
    if (key === "name") {
      this.#name = parseText(value);
      const isName = this.#name !== null && this.#name !== "" && this.#isKnown(this.#name);
      return isName ? going(this.#announce()) : broken;
    }
    if (this.#isBareObject) return { text: "", state: "done" };
    if (!argumentKeys.includes(key) || value.startsWith("{")) return going("");
    const text = parseText(value) ?? value;
    return going(this.#give(text === "null" ? "{}" : text));
  }

  #give(text: string): string {
    this.#hasArguments = true;
    if (this.#name !== null) {
      this.#isAnnounced = true;
      return text;
    }
    this.#held += text;
    return "";
  }

  /** The name is known: what was held can go. */
  #announce(): string {
    const held = this.#held;
    this.#held = "";
    if (held !== "") this.#isAnnounced = true;
    return held;
  }

  #end(): Pick<CallNews, "text" | "state"> {
    if (this.#name === null) return broken;
    this.#isAnnounced = true;
    return { text: this.#hasArguments ? "" : "{}", state: "done" };
  }
}

const broken = { text: "", state: "broken" } as const;
const going = (text: string) => ({ text, state: "open" }) as const;

function parseText(json: string): string | null {
  try {
    const value: unknown = JSON.parse(json);
    return typeof value === "string" ? value : null;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

/** Finds the end of a JSON value, character by character; looks no closer than at quotes and brackets. */
class ValueScan {
  readonly isBroken: boolean;
  readonly #open: string[] = [];
  #isText = false;
  #isEscaped = false;
  readonly #isPlain: boolean;

  constructor(first: string) {
    this.#isText = first === '"';
    if (first === "{" || first === "[") this.#open.push(first);
    this.#isPlain = !this.#isText && this.#open.length === 0;
    this.isBroken = this.#isPlain && !/[-\dtfn]/.test(first);
  }

  /** `before`: the value ended before this character, which numbers and words show only by what follows. */
  push(char: string): "open" | "done" | "before" | "broken" {
    if (this.#isPlain) return /[\s,}\]]/.test(char) ? "before" : "open";
    if (this.#isEscaped) {
      this.#isEscaped = false;
      return "open";
    }
    if (this.#isText) {
      if (char === "\\") this.#isEscaped = true;
      else if (char === '"') {
        this.#isText = false;
        if (this.#open.length === 0) return "done";
      }
      return "open";
    }
    if (char === '"') this.#isText = true;
    else if (char === "{" || char === "[") this.#open.push(char);
    else if (char === "}" || char === "]") {
      if (this.#open.pop() !== (char === "}" ? "{" : "[")) return "broken";
      if (this.#open.length === 0) return "done";
    }
    return "open";
  }
}
