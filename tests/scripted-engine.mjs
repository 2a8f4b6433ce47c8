// A server that behaves as it is told: node scripted-engine.mjs --port N [--model PATH] --behaviour NAME [--delay-ms N].
import { createServer } from "node:http";
import { parseArgs } from "node:util";

const { values } = parseArgs({
  options: {
    port: { type: "string" },
    model: { type: "string" },
    behaviour: { type: "string", default: "good" },
    "delay-ms": { type: "string", default: "0" },
  },
});
const { behaviour } = values;
const delayMs = Number(values["delay-ms"]);

if (behaviour === "crash at start") {
  process.stderr.write("cannot open the model: wrong magic\n");
  process.exit(3);
}

if (behaviour === "crash in silence") process.exit(4);

if (behaviour === "ignores SIGTERM") process.on("SIGTERM", () => {});

const startedMs = performance.now();
const isReady = () => behaviour !== "never ready" && performance.now() - startedMs >= delayMs;
let numCompletions = 0;

createServer((request, response) => {
  const json = (status, body, headers = {}) =>
    response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(body));
  if (behaviour === "wants a key" && request.headers.authorization !== "Bearer sesame")
    return json(401, { error: { message: "no key" } });
  if (request.url === "/health")
    return isReady() ? json(200, {}) : json(503, { error: { message: "loading" } });
  if (request.url === "/v1/models")
    return json(200, { object: "list", data: [{ id: "scripted", object: "model" }] });
  if (request.url !== "/v1/completions") return json(404, { error: { message: "not here" } });
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    numCompletions += 1;
    if (behaviour === "hanging") return;
    if (behaviour === "full" && numCompletions > 2) {
      return json(429, { error: { message: "too many requests" } }, { "retry-after": "1" });
    }
    if (behaviour === "crash under load" && numCompletions > 4) process.kill(process.pid, "SIGKILL");
    complete(JSON.parse(Buffer.concat(parts).toString()), response);
  });
}).listen(Number(values.port), "127.0.0.1");

/** A token every 2 ms. */
function complete({ max_tokens: numTokens }, response) {
  response.writeHead(200, { "content-type": "text/event-stream" });
  const send = (body) =>
    response.write(`data: ${typeof body === "string" ? body : JSON.stringify(body)}\n\n`);
  let sent = 0;
  const timer = setInterval(() => {
    sent += 1;
    const isLast = sent === numTokens;
    send({ choices: [{ index: 0, text: "a ", finish_reason: isLast ? "length" : null }] });
    if (!isLast) return;
    clearInterval(timer);
    send({
      choices: [],
      usage: { prompt_tokens: 8, completion_tokens: numTokens, total_tokens: 8 + numTokens },
    });
    send("[DONE]");
    response.end();
  }, 2);
}
