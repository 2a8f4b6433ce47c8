import { readFileSync } from "node:fs";
import path from "node:path";

/** Where models come from and where they are kept. */
export interface HubSettings {
  /** Without a slash at its end. */
  readonly endpoint: string;
  /** Folder in the layout of Python's huggingface_hub: `models--ORG--NAME` with blobs, refs and snapshots. */
  readonly cacheDir: string;
  readonly token: string | null;
  /** Nothing is asked of the hub. */
  readonly isOffline: boolean;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** Reads the variables that Python's huggingface_hub reads, with its defaults and its precedence. */
export function hubSettingsOf(env: Environment, homeDir: string): HubSettings {
  const xdgCache = given(env, "XDG_CACHE_HOME") ?? path.join(homeDir, ".cache");
  const home = given(env, "HF_HOME") ?? path.join(xdgCache, "huggingface");
  const cacheDir =
    given(env, "HF_HUB_CACHE") ?? given(env, "HUGGINGFACE_HUB_CACHE") ?? path.join(home, "hub");
  const tokenPath = given(env, "HF_TOKEN_PATH") ?? path.join(home, "token");
  return {
    endpoint: (given(env, "HF_ENDPOINT") ?? "https://huggingface.co").replace(/\/+$/, ""),
    cacheDir: expandHome(cacheDir, homeDir),
    token: given(env, "HF_TOKEN")?.trim() ?? readToken(expandHome(tokenPath, homeDir)),
    isOffline: isTrue(env["HF_HUB_OFFLINE"]),
  };
}

function given(env: Environment, name: string): string | undefined {
  return env[name] === "" ? undefined : env[name];
}

function expandHome(file: string, homeDir: string): string {
  return file === "~" || file.startsWith("~/") ? path.join(homeDir, file.slice(1)) : file;
}

function isTrue(value: string | undefined): boolean {
  return /^(1|on|yes|true)$/i.test(value ?? "");
}

/** What `hf auth login` left, or null. */
function readToken(file: string): string | null {
  try {
    return readFileSync(file, "utf8").trim() || null;
  } catch {
    // Most people have none.
    return null;
  }
}
