import { CallReader } from "./call-reader.ts";
import { type ChatPart, contentOf } from "./chat-part.ts";
import { MarkerBuffer } from "./marker-buffer.ts";
import type { ToolSyntax } from "./tool-syntax.ts";

export interface CallRules {
  readonly syntax: ToolSyntax;
  /** Names of the tools. JSON without a marker is a call only of one of these. */
  readonly names: ReadonlySet<string>;
  /** Calls that are given out; more are left out. */
  readonly maxCalls: number;
}

/** What may stand between two calls, and around them in a list. */
const separator = /[\s,;[\]]/;
const onlySeparators = /^[\s,;[\]]*$/;
const bareStart = /^\s*[{[]/;
const nameFirst = /^([\w.-]+)\s*(?:\[ARGS\])?\s*(?=\{)/;
/** As much of the above as may yet come, and no more characters than the longest name has. */
const nameBeginning = /^[\w.-]{1,128}\s*(?:\[(?:A(?:R(?:G(?:S\]?)?)?)?)?)?\s*$/;

/**
 * Finds calls of tools in an answer. What turns out to be none is content, as it stands; white space beside calls is
 * left out. A call that ends too early keeps the arguments that it has.
 */
export class ToolCallParser {
  readonly #rules: CallRules;
  readonly #buffer = new MarkerBuffer();
  #state: "start" | "content" | "calls" | "call";
  #reader: CallReader | null = null;
  /** Text since the last call or content, for the case that it is none. */
  #raw = "";
  /** Whether the calls stand without a marker. */
  #isBare = false;
  /** Whether there was no call since the marker. */
  #isEmpty = true;
  #spaces = "";
  /** Whether a call was the last that was given out. */
  #isAfterCall = false;
  #numCalls = 0;

  constructor(rules: CallRules) {
    this.#rules = rules;
    this.#state = rules.syntax.isBare ? "start" : "content";
  }

  /** Calls so far, without those over the limit. */
  get numCalls(): number {
    return Math.min(this.#numCalls, this.#rules.maxCalls);
  }

  push(text: string): ChatPart[] {
    this.#buffer.push(text);
    const parts: ChatPart[] = [];
    for (let goesOn = true; goesOn; ) goesOn = this.#step(parts);
    return parts;
  }

  flush(): ChatPart[] {
    const rest = this.#buffer.take(this.#buffer.text.length);
    if (this.#reader?.isAnnounced === true) return [];
    const text = this.#raw + rest;
    const isOver = this.#numCalls > 0 && onlySeparators.test(this.#isEmpty ? text.trim() : text);
    if (isOver) return [];
    const parts: ChatPart[] = [];
    this.#give(text, parts);
    return [...parts, ...contentOf(this.#isAfterCall ? "" : this.#spaces)];
  }

  /** Does what can be done with the text there is; false where it has to wait for more. */
  #step(parts: ChatPart[]): boolean {
    switch (this.#state) {
      case "start":
        return this.#start();
      case "content":
        return this.#content(parts);
      case "calls":
        return this.#between(parts);
      case "call":
        return this.#call(parts);
    }
  }

  #start(): boolean {
    const { text } = this.#buffer;
    if (text.trim() === "") return false;
    this.#isBare = bareStart.test(text);
    this.#state = this.#isBare ? "calls" : "content";
    return true;
  }

  #content(parts: ChatPart[]): boolean {
    const { text, marker } = this.#buffer.takeUntil(this.#rules.syntax.open);
    this.#give(text, parts);
    if (marker === null) return false;
    this.#raw = marker;
    this.#isEmpty = true;
    this.#isBare = false;
    this.#state = "calls";
    return true;
  }

  /** Holds white space back until it is known whether a call follows. */
  #give(text: string, parts: ChatPart[]): void {
    const all = this.#isAfterCall ? (this.#spaces + text).trimStart() : this.#spaces + text;
    const kept = all.trimEnd();
    this.#spaces = all.slice(kept.length);
    if (kept !== "") this.#isAfterCall = false;
    parts.push(...contentOf(kept));
  }

  #between(parts: ChatPart[]): boolean {
    const buffer = this.#buffer;
    const { open, close, namesFirst } = this.#rules.syntax;
    const markers = [...close, ...open];
    if (buffer.text === "" || buffer.mayBegin(markers)) return false;
    const marker = markers.find((each) => buffer.text.startsWith(each));
    if (marker !== undefined) {
      this.#raw += buffer.take(marker.length);
      if (close.includes(marker)) this.#endCalls(parts);
      return true;
    }
    if (separator.test(buffer.text[0]!)) {
      this.#raw += buffer.take(1);
      return true;
    }
    if (buffer.text.startsWith("{")) return this.#beginCall(parts, null);
    if (namesFirst) {
      const name = nameFirst.exec(buffer.text);
      if (name !== null) return this.#beginCall(parts, name);
      if (nameBeginning.test(buffer.text)) return false;
    }
    this.#refuse(parts);
    return true;
  }

  /** A closing marker: content may follow. Markers without a call between them are content. */
  #endCalls(parts: ChatPart[]): void {
    if (this.#isEmpty) this.#give(this.#raw, parts);
    this.#raw = "";
    this.#state = "content";
  }

  #beginCall(parts: ChatPart[], name: RegExpExecArray | null): boolean {
    const { names } = this.#rules;
    const isBare = this.#isBare;
    this.#reader =
      name === null ? new CallReader((each) => !isBare || names.has(each)) : CallReader.ofName(name[1]!);
    if (name !== null) this.#raw += this.#buffer.take(name[0].length);
    this.#state = "call";
    return this.#call(parts);
  }

  #call(parts: ChatPart[]): boolean {
    const reader = this.#reader!;
    const { text } = this.#buffer;
    if (text === "") return false;
    const news = reader.push(text);
    this.#raw += this.#buffer.take(news.numTaken);
    if (news.state === "broken" && !reader.isAnnounced) {
      this.#refuse(parts);
      return true;
    }
    this.#tell(news.name, news.text, parts);
    if (reader.isAnnounced) this.#raw = "";
    if (news.state === "open") return false;
    this.#reader = null;
    this.#state = news.state === "done" ? "calls" : "content";
    return true;
  }

  #tell(name: string | undefined, text: string, parts: ChatPart[]): void {
    if (name !== undefined) {
      this.#spaces = "";
      this.#isAfterCall = true;
      this.#isEmpty = false;
      this.#numCalls += 1;
    }
    if (this.#numCalls > this.#rules.maxCalls) return;
    const index = this.#numCalls - 1;
    if (name !== undefined) parts.push({ kind: "call", index, name });
    if (text !== "") parts.push({ kind: "arguments", index, text });
  }

  /** It was no call: what was taken for one is content. */
  #refuse(parts: ChatPart[]): void {
    this.#reader = null;
    const text = this.#isEmpty ? this.#raw : this.#raw.replace(/^[\s,;[\]]+/, "");
    this.#raw = "";
    this.#state = "content";
    this.#give(text, parts);
  }
}

/** An answer that is nothing but the arguments of one tool, as a grammar made the model write it. */
export class NamedCallParser {
  readonly #name: string;
  numCalls = 0;

  constructor(name: string) {
    this.#name = name;
  }

  push(text: string): ChatPart[] {
    const call: ChatPart[] = this.numCalls === 0 ? [{ kind: "call", index: 0, name: this.#name }] : [];
    this.numCalls = 1;
    return [...call, { kind: "arguments", index: 0, text }];
  }

  flush(): ChatPart[] {
    return [];
  }
}
