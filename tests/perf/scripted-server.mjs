// A server over an engine that computes nothing, for the cost of HTTP and streaming alone: started by http-cost.mjs, which asks
// it over their channel for its processor time.
import { openModel, openTokenizer } from "../../dist/cli/model-source.js";
import { createFakeClient } from "../../dist/protocol/fake-engine-client.js";
import { startServer } from "../../dist/server/start-server.js";
import { ScoreMemory } from "../../dist/text/score-memory.js";

const checkpoint = openModel(process.argv[2]);
const { tokenizer } = openTokenizer(checkpoint, {});
checkpoint.close();
const reply = tokenizer.encode(
  "Mia has a red ball and Tom has the blue one of the small mill by the river. ".repeat(8),
);
const [eos = 0] = tokenizer.eosTokenIds;
const info = { vocabSize: 1 << 20, maxModelLen: 1 << 20, eosTokenIds: [eos] };
const client = createFakeClient({ info, reply: () => reply });
const server = await startServer({
  host: "127.0.0.1",
  port: 0,
  models: [
    {
      id: "scripted",
      client,
      promptScorer: new ScoreMemory(client),
      tokenizer,
      grammars: null,
      created: 0,
      generationDefaults: {},
    },
  ],
});
process.on("message", () => process.send({ cpu: process.cpuUsage() }));
process.send({ url: server.url });
