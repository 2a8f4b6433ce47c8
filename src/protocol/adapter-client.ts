import type { EngineClient } from "./engine-client.ts";

/** An engine as requests for one of its adapters see it. Closing it closes nothing: the engine is its model's. */
export function withAdapter(client: EngineClient, adapter: string): EngineClient {
  return {
    info: client.info,
    generate: (request) => client.generate({ ...request, adapter }),
    score: (request, signal) => client.score({ ...request, adapter }, signal),
    embed: (request, signal) => client.embed(request, signal),
    abort: (requestId) => client.abort(requestId),
    stats: () => client.stats(),
    recentSteps: () => client.recentSteps(),
    recentRequests: () => client.recentRequests(),
    resetPrefixCache: () => client.resetPrefixCache(),
    adapters: null,
    close: () => Promise.resolve(),
  };
}
