import type { EngineClient } from "../protocol/engine-client.ts";
import { noEmbeddings } from "./embedding/embedding-client.ts";
import type { EngineLoop } from "./engine-loop.ts";
import { engineClosed, OpenRequests } from "./open-requests.ts";

/** A client of an engine in the caller's own thread: a step blocks it, so this is for tests and tools. */
export function createInProcessClient(engine: EngineLoop): EngineClient {
  const open = new OpenRequests(engine);
  engine.connect((message) => open.receive(message));
  return {
    info: engine.info,
    generate: (request) => open.generate(request),
    score: (request, signal) => open.score(request, signal),
    embed: () => Promise.reject(noEmbeddings(engine.info.architecture)),
    abort: (requestId) => open.abort(requestId),
    stats: () => Promise.resolve(engine.counters.read()),
    recentSteps: () => Promise.resolve(engine.recentSteps()),
    recentRequests: () => Promise.resolve(engine.recentRequests()),
    resetPrefixCache: () => engine.resetPrefixCache(),
    adapters: engine.adapters,
    close: async () => {
      await engine.close();
      open.failAll(engineClosed());
    },
  };
}
