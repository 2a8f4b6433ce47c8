import type { Endpoint } from "../../client/endpoint.ts";
import type { MemoryPlan } from "../../protocol/endpoint-launcher.ts";
import { askServer } from "./ask-server.ts";

/** What the text of `GET /metrics` says of memory and the KV cache; null for what it does not say. */
export interface ServerFacts {
  readonly memoryPlan: MemoryPlan | null;
  readonly kvCacheTokens: number | null;
}

/**
 * Reads a server's metrics: the gauge `millrace:memory_bytes`, and `vllm:cache_config_info` of vLLM and Millrace. Throws the
 * signal's reason.
 */
export async function readServerFacts(endpoint: Endpoint, signal: AbortSignal): Promise<ServerFacts> {
  const text = await askServer(endpoint, "/metrics", signal);
  if (text === null) return { memoryPlan: null, kvCacheTokens: null };
  return { memoryPlan: memoryPlanIn(text), kvCacheTokens: kvCacheTokensIn(text) };
}

function memoryPlanIn(text: string): MemoryPlan | null {
  const part = (name: string): number | null => {
    const line = new RegExp(`^millrace:memory_bytes\\{.*part="${name}".*\\} (\\S+)$`, "m").exec(text);
    return line === null ? null : Number(line[1]);
  };
  const [weights, kvCache, activations] = [part("weights"), part("kv_cache"), part("activations")];
  if (weights == null || kvCache == null || activations == null) return null;
  return { weights, kvCache, activations };
}

function kvCacheTokensIn(text: string): number | null {
  const labels = /^vllm:cache_config_info\{(.*)\} /m.exec(text)?.[1];
  if (labels === undefined) return null;
  const label = (name: string): number => Number(new RegExp(`(?:^|,)${name}="(\\d+)"`).exec(labels)?.[1]);
  const tokens = label("block_size") * label("num_gpu_blocks");
  return Number.isFinite(tokens) && tokens > 0 ? tokens : null;
}
