import { PassThrough } from "node:stream";
import { describe, expect, test } from "vitest";
import { createByteTokenizer, lineTemplate } from "../../tests/byte-tokenizer.ts";
import { createFakeClient, type FakeEngineClient, type FakeScript } from "../protocol/fake-engine-client.ts";
import { defaultSampling } from "../protocol/sampling-params.ts";
import { type ChatParts, runChatSession } from "./chat-session.ts";

interface Seat {
  readonly client: FakeEngineClient;
  readonly type: (text: string) => void;
  readonly answers: () => string;
  readonly dialogue: () => string;
  /** Resolves when the session is over. */
  readonly over: Promise<void>;
}

function collect(stream: PassThrough): () => string {
  let text = "";
  stream.setEncoding("utf8").on("data", (part: string) => {
    text += part;
  });
  return () => text;
}

function sit(script: FakeScript, isTerminal: boolean, more: Partial<ChatParts> = {}): Seat {
  const client = createFakeClient(script);
  const [input, answers, dialogue] = [new PassThrough(), new PassThrough(), new PassThrough()];
  const sampling = { ...defaultSampling, maxTokens: 100 };
  const parts = { client, tokenizer: createByteTokenizer(), template: lineTemplate, sampling, stop: [] };
  const over = runChatSession(
    { system: undefined, ...parts, ...more },
    { input, answers, dialogue, isTerminal },
  );
  const type = (text: string): void => void (text === "" ? input.end() : input.write(text));
  return { client, type, answers: collect(answers), dialogue: collect(dialogue), over };
}

const saying = (text: string): FakeScript => ({ reply: () => [...Buffer.from(text)] });
const promptsOf = ({ client }: Seat): string[] =>
  client.requests.map(({ promptTokenIds }) => Buffer.from([...promptTokenIds]).toString("utf8"));

async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await new Promise((resolve) => setTimeout(resolve, 2));
}

describe("a chat from a pipe", () => {
  test("answers every line with what was said before, and writes the answers alone", async () => {
    const seat = sit(saying("Grüße 🙂"), false, { system: "Be brief." });
    seat.type("Hi\n\n  世界  \n");
    seat.type("");
    await seat.over;
    expect(seat.answers()).toBe("Grüße 🙂\nGrüße 🙂\n");
    expect(seat.dialogue()).toBe("");
    expect(promptsOf(seat)).toEqual([
      "[system]Be brief.\n[user]Hi\n[assistant]",
      "[system]Be brief.\n[user]Hi\n[assistant]Grüße 🙂\n[user]世界\n[assistant]",
    ]);
  });

  test("knows its commands and sends no others to the model", async () => {
    const seat = sit(saying("A"), false);
    seat.type("one\n/reset\n/frob\n/usr/bin is what?\n/exit\ntwo\n");
    seat.type("");
    await seat.over;
    expect(promptsOf(seat)).toEqual(["[user]one\n[assistant]", "[user]/usr/bin is what?\n[assistant]"]);
    expect(seat.dialogue()).toContain("There is no command /frob. /reset forgets");
  });

  test("ends with the error of a message that does not fit", async () => {
    const seat = sit(saying("A"), false);
    const ended = expect(seat.over).rejects.toMatchObject({ code: "context_length_exceeded" });
    seat.type(`${"long ".repeat(500)}\n`);
    await ended;
  });

  test("says why an answer is cut", async () => {
    const seat = sit(saying("abc".repeat(2000)), false);
    seat.type(`Hi\n${"y".repeat(1880)}\n`);
    seat.type("");
    await seat.over;
    expect(seat.dialogue()).toContain("(cut after 100 tokens; start with a larger --max-tokens)");
    expect(seat.dialogue()).toContain("(cut since the context is full; /reset starts anew)");
  });
});

describe("a chat with a person", () => {
  test("Ctrl-C stops the answer in the engine, keeps what was said and goes on", async () => {
    const seat = sit({ ...saying("la ".repeat(30)), delayMs: 5 }, true);
    seat.type("sing\r");
    await until(() => seat.answers().includes("la"));
    seat.type("\u0003");
    await until(() => seat.dialogue().includes("(stopped)"));
    expect(seat.client.abortedIds).toEqual(["chat-0"]);
    const said = seat.answers().trimEnd();
    seat.type("more\r");
    await until(() => seat.client.requests.length === 2);
    expect(promptsOf(seat)[1]).toContain(`[user]sing\n[assistant]${said}`);
    seat.type("\u0004");
    await seat.over;
    expect(seat.client.abortedIds).toEqual(["chat-0", "chat-1"]);
  });

  test("what is typed while an answer comes is not mixed into it, and is sent afterwards", async () => {
    let release = (): void => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const seat = sit({ ...saying("ab"), hold: (_, index) => (index === 1 ? held : undefined) }, true);
    seat.type("first\r");
    await until(() => seat.answers() === "a");
    const before = seat.dialogue();
    seat.type("second\r");
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(seat.dialogue()).toBe(before);
    release();
    await until(() => seat.answers() === "ab\nab\n");
    expect(seat.dialogue().slice(before.length)).toContain("second\n");
    seat.type("\u0004");
    await seat.over;
  });

  test("a failing message is told and forgotten", async () => {
    const seat = sit(saying("A"), true);
    seat.type(`${"long ".repeat(500)}\r`);
    await until(() => seat.dialogue().includes("[context_length_exceeded]"));
    seat.type("short\r");
    await until(() => seat.answers() === "A\n");
    expect(promptsOf(seat)).toEqual(["[user]short\n[assistant]"]);
    seat.type("half\u0003");
    await new Promise((resolve) => setTimeout(resolve, 20));
    seat.type("\u0003");
    await seat.over;
    expect(seat.client.requests).toHaveLength(1);
  });
});
