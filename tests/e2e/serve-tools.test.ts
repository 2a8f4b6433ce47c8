import { readFileSync } from "node:fs";
import { afterAll, expect, test } from "vitest";
import { repositoryPath } from "../test-data.ts";
import { endProcesses, pebble, startServe, untilReady } from "./run-cli.ts";

afterAll(endProcesses);

test("the guide's example of tools gets a call from the embedded model", async () => {
  const guide = readFileSync(repositoryPath("docs", "guide", "tool-calls.md"), "utf8");
  const body = /curl \S+ -d '([^']+)'/.exec(guide)![1]!;
  const template = repositoryPath("models", "pebble", "tools.jinja");
  const server = await startServe(pebble, "--port", "0", "--chat-template", template);
  await untilReady(server.url);
  const ask = async (text: string): Promise<Record<string, unknown>> => {
    const response = await fetch(`${server.url}/v1/chat/completions`, { method: "POST", body: text });
    expect(response.status).toBe(200);
    return (await response.json()) as Record<string, unknown>;
  };
  const answer = await ask(body);
  const { choices } = answer as { choices: { message: { tool_calls: object[] } }[] };
  const [call] = choices[0]!.message.tool_calls as [{ id: string; function: { arguments: string } }];
  expect(call).toMatchObject({ type: "function", function: { name: "weather" } });
  expect(JSON.parse(call.function.arguments)).toEqual({
    city: expect.stringMatching(/^(Oslo|Bergen)$/),
    days: expect.any(Number),
  });
  const { messages, tools } = JSON.parse(body) as { messages: object[]; tools: object[] };
  const told = { role: "tool", tool_call_id: call.id, content: "Rain on the second day." };
  const after = [...messages, choices[0]!.message, told];
  expect(await ask(JSON.stringify({ messages: after, tools, max_tokens: 8 }))).toMatchObject({
    choices: [{ message: { role: "assistant" } }],
  });
  expect(await server.stop()).toBe(0);
});
