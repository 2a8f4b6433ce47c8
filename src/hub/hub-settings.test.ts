import { expect, test } from "vitest";
import { hubSettingsOf } from "./hub-settings.ts";
import { parseModelId, showModelId } from "./model-id.ts";

const settings = (env: Record<string, string>) => hubSettingsOf(env, "/h");

test("reads the variables of Python's huggingface_hub with its precedence", () => {
  expect(settings({})).toEqual({
    endpoint: "https://huggingface.co",
    cacheDir: "/h/.cache/huggingface/hub",
    token: null,
    isOffline: false,
  });
  expect(settings({ XDG_CACHE_HOME: "/x" }).cacheDir).toBe("/x/huggingface/hub");
  expect(settings({ XDG_CACHE_HOME: "/x", HF_HOME: "/hf" }).cacheDir).toBe("/hf/hub");
  expect(settings({ HF_HOME: "/hf", HUGGINGFACE_HUB_CACHE: "/old" }).cacheDir).toBe("/old");
  expect(settings({ HUGGINGFACE_HUB_CACHE: "/old", HF_HUB_CACHE: "~/new" }).cacheDir).toBe("/h/new");
  expect(settings({ HF_ENDPOINT: "https://mirror/" }).endpoint).toBe("https://mirror");
  expect(settings({ HF_TOKEN: " hf_x\n" }).token).toBe("hf_x");
  for (const yes of ["1", "ON", "yes", "True"])
    expect(settings({ HF_HUB_OFFLINE: yes }).isOffline).toBe(true);
  for (const no of ["", "0", "off"]) expect(settings({ HF_HUB_OFFLINE: no }).isOffline).toBe(false);
});

test("tells a hub id from a path", () => {
  expect(parseModelId("org/name")).toEqual({ type: "model", repo: "org/name", revision: "main", file: null });
  const all = parseModelId("Org-1/Na.me_2@refs/pr/3:Q4_K_M");
  expect(all).toEqual({ type: "model", repo: "Org-1/Na.me_2", revision: "refs/pr/3", file: "Q4_K_M" });
  expect(showModelId(all!)).toBe("Org-1/Na.me_2@refs/pr/3:Q4_K_M");
  for (const other of [
    "name",
    "./a/b",
    "/a/b",
    "../b/c",
    "a/b/c",
    "a/..",
    "a/b@../x",
    "a--b/c",
    "a/b.git",
    "a/b@",
    "C:\\x",
  ])
    expect(parseModelId(other)).toBeNull();
});
