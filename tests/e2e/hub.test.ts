import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type HubStub, startHubStub, useHubStub } from "../hub-stub.ts";
import { expectRefusal } from "./expect-refusal.ts";
import {
  endProcesses,
  makeFolder,
  pebble,
  removeFolders,
  runCli,
  startServe,
  untilReady,
} from "./run-cli.ts";

let stub: HubStub;
let leaveHubStub: () => void;
const cacheDir = path.join(makeFolder(), "hub");

beforeAll(async () => {
  const files = Object.fromEntries(
    readdirSync(pebble).map((name) => [name, readFileSync(path.join(pebble, name))]),
  );
  stub = await startHubStub({ "org/pebble": { files, license: "apache-2.0" } });
  leaveHubStub = useHubStub(stub, cacheDir);
});

afterAll(async () => {
  leaveHubStub();
  await stub.close();
  endProcesses();
  removeFolders();
});

function answerOf(stdout: string): unknown {
  const { choices } = JSON.parse(stdout) as { readonly choices: readonly { readonly text: string }[] };
  return choices[0]!.text;
}

const prompt = ["--prompt", "Mia has a red", "--max-tokens", "8", "--temperature", "0", "--json"];

test("a model that is named by its hub id is downloaded once, runs as from its folder, and can be removed", async () => {
  const first = await runCli("complete", "org/pebble", ...prompt);
  expect(first.exitCode, first.stderr).toBe(0);
  expect(first.stderr).toMatch(/^org\/pebble at 0123456789ab: licence apache-2.0; 5 files, .* MiB, to /);
  const fromFolder = await runCli("complete", pebble, ...prompt);
  const answer = JSON.parse(first.stdout) as Record<string, unknown>;
  expect(answer["model"]).toBe("org/pebble");
  expect(answer["choices"]).toEqual((JSON.parse(fromFolder.stdout) as Record<string, unknown>)["choices"]);

  process.env["HF_HUB_OFFLINE"] = "1";
  stub.requests.length = 0;
  const server = await startServe(pebble, "--port", "0", "--models", "again=org/pebble");
  await untilReady(server.url);
  const body = JSON.stringify({ model: "again", prompt: "Mia has a red", max_tokens: 8, temperature: 0 });
  const served = await fetch(`${server.url}/v1/completions`, { method: "POST", body });
  expect(await served.json()).toMatchObject({ choices: [{ text: answerOf(first.stdout) }] });
  expect(await server.stop()).toBe(0);
  const offline = await runCli("complete", "org/pebble", ...prompt);
  expect(offline).toMatchObject({ exitCode: 0, stderr: "" });
  expect(JSON.parse(offline.stdout)).toMatchObject({ choices: answer["choices"] });
  expect(stub.requests).toEqual([]);
  await expectRefusal(cacheDir, {
    args: ["inspect", "org/pebble@v1"],
    code: "model_not_cached",
    exitCode: 2,
    says: ["org/pebble@v1 is not in", "HF_HUB_OFFLINE", "millrace pull org/pebble@v1"],
  });
  process.env["HF_HUB_OFFLINE"] = "0";

  const pulled = await runCli("pull", "org/pebble", "--revision", "v1");
  expect(pulled.stdout.trim()).toMatch(/models--org--pebble\/snapshots\/0123456789abcdef/);
  const list = await runCli("list");
  expect(list.stdout).toMatch(/org\/pebble +\S+ MiB +0123456789ab main v1/);
  const listed = JSON.parse((await runCli("list", "--json")).stdout) as { readonly repos: unknown[] };
  expect(listed.repos).toHaveLength(1);
  expect((await runCli("rm", "org/pebble")).stdout).toMatch(/^Removed org\/pebble: /);
  expect((await runCli("list")).stdout).toMatch(/Nothing is in .*millrace pull/);
});

test("two revisions, and a part of a model to remove, are refused", async () => {
  await expectRefusal(cacheDir, {
    args: ["pull", "org/pebble@v1", "--revision", "v2"],
    code: "invalid_option",
    exitCode: 2,
    says: ["names revision v1", "--revision is v2", "Leave one of them out"],
  });
  for (const part of ["org/pebble@v1", "org/pebble:Q8_0"]) {
    await expectRefusal(cacheDir, {
      args: ["rm", part],
      code: "invalid_option",
      exitCode: 2,
      says: [`${part} names a part`, "all its revisions", "millrace rm org/pebble"],
    });
  }
  await expectRefusal(cacheDir, {
    args: ["inspect", "https://huggingface.co/org/pebble/tree/main"],
    code: "file_not_found",
    exitCode: 3,
    says: ["named by its id", "org/pebble."],
  });
});

test("what is no id and no path, and a model that the hub has not, are refused", async () => {
  await expectRefusal(cacheDir, {
    args: ["pull", "no id"],
    code: "invalid_option",
    exitCode: 2,
    says: ["no hub id", "ORG/NAME"],
  });
  await expectRefusal(cacheDir, {
    args: ["inspect", "some/where/else"],
    code: "file_not_found",
    exitCode: 3,
    says: ["nothing at some/where/else"],
  });
  await expectRefusal(cacheDir, {
    args: ["inspect", "org/absent"],
    code: "hub_forbidden",
    exitCode: 2,
    says: ["org/absent cannot be had", "does not exist, or it is private", "HF_TOKEN"],
  });
});
