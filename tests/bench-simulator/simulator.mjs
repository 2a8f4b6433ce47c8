// A server that plays a script and keeps a log of what it sent when. It answers as OpenAI-compatible servers do, speaks
// HTTP/1.1 over plain sockets, so that writing an event costs little, and runs as a process of its own:
//
//   node tests/bench-simulator/simulator.mjs '{"scripts": [{"ttftMs": 50, "itlMs": 10, "tokensPerEvent": [1], "numTokens": 100}]}'
//
// Prints its URL as JSON. `GET /log` gives the log and empties it. Request number i plays script i modulo their number:
//
//   numTokens, tokensPerEvent   the answer's tokens, and how many go into each event, over and over
//   ttftMs, itlMs               due times: first event after the request, then one event every so often
//   stall {afterEvents, ms}     everything behind that event comes so much later
//   stallAll {requests, ms}     request number `requests` and all that come within ms are answered when ms are over
//   text                        of a token; "é" for one that splits inside a character
//   splitWrites                 every event goes out in two writes, the cut lying inside a character where there is one
//   eventsPerWrite              so many events go out in one write
//   usage                       "final" | "continuous" | "only" (no event but usage) | "none"
//   errorAfter                  an error event in place of the event with that number, then the end
//   status, retryAfter          an answer that is no stream
//   hang                        no answer at all
//   cutAfter                    the connection is closed in place of the event with that number
//   chat                        events of chat completions
//
// Times in the log are milliseconds of the system's monotonic clock, the same in all processes.
import { createServer } from "node:net";

const { scripts, readyAfterMs = 0 } = JSON.parse(process.argv[2]);
const monotonicMs = () => Number(process.hrtime.bigint()) / 1e6;
const startedMs = monotonicMs();

let log = [];
let numRequests = 0;
let stalledUntilMs = 0;

/** Streams with an event to come, earliest first: a binary heap by `dueMs`. */
const heap = [];
function push(stream) {
  let i = heap.push(stream) - 1;
  while (i > 0) {
    const parent = (i - 1) >> 1;
    if (heap[parent].dueMs <= stream.dueMs) break;
    heap[i] = heap[parent];
    i = parent;
  }
  heap[i] = stream;
}
function pop() {
  const first = heap[0];
  const last = heap.pop();
  if (heap.length === 0) return first;
  let i = 0;
  for (;;) {
    let child = 2 * i + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && heap[child + 1].dueMs < heap[child].dueMs) child += 1;
    if (heap[child].dueMs >= last.dueMs) break;
    heap[i] = heap[child];
    i = child;
  }
  heap[i] = last;
  return first;
}

let timer = null;
function pump() {
  timer = null;
  for (let now = monotonicMs(); heap.length > 0 && heap[0].dueMs <= now; now = monotonicMs()) play(pop());
  if (heap.length > 0 && timer === null) timer = setTimeout(pump, Math.max(0, heap[0].dueMs - monotonicMs()));
}
function schedule(stream) {
  push(stream);
  if (timer !== null && heap[0] === stream) clearTimeout(timer);
  else if (timer !== null) return;
  timer = setTimeout(pump, Math.max(0, heap[0].dueMs - monotonicMs()));
}

function chunk(text) {
  const bytes = Buffer.from(text);
  return Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from("\r\n")]);
}
const sse = (value) => `data: ${JSON.stringify(value)}\n\n`;

/** Events of a script, made once: `{ bytes, tokens }`, tokens being 0 for what carries none. */
function eventsOf(script, promptTokens) {
  const { numTokens, tokensPerEvent = [1], text = "a", usage = "final", chat = false } = script;
  const events = [];
  const delta = (content, finish) =>
    chat
      ? { choices: [{ index: 0, delta: { content }, finish_reason: finish }] }
      : { choices: [{ index: 0, text: content, finish_reason: finish }] };
  let sent = 0;
  for (let i = 0; usage !== "only" && sent < numTokens; i += 1) {
    const tokens = Math.min(tokensPerEvent[i % tokensPerEvent.length], numTokens - sent);
    sent += tokens;
    const counted =
      usage === "continuous" ? { usage: { prompt_tokens: promptTokens, completion_tokens: sent } } : {};
    events.push({ bytes: sse({ ...delta(text.repeat(tokens), null), ...counted }), tokens });
  }
  if (usage !== "none")
    events.push({
      bytes: sse({ choices: [], usage: { prompt_tokens: promptTokens, completion_tokens: sent } }),
      tokens: 0,
    });
  events.push({ bytes: "data: [DONE]\n\n", tokens: 0 });
  return events;
}
const made = new Map();
function eventsFor(index, promptTokens) {
  const key = `${index}/${promptTokens}`;
  if (!made.has(key)) made.set(key, eventsOf(scripts[index], promptTokens));
  return made.get(key);
}

const streamHead = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

function begin(socket, headers, body) {
  const number = numRequests++;
  const receivedMs = monotonicMs();
  const index = number % scripts.length;
  const script = scripts[index];
  const { prompt, messages } = JSON.parse(body);
  const promptTokens = Array.isArray(prompt)
    ? prompt.length
    : (prompt ?? messages.map(({ content }) => content).join(" ")).split(" ").length;
  const entry = {
    number,
    requestId: /^x-request-id: *(.*)$/im.exec(headers)?.[1]?.trim() ?? null,
    receivedMs,
    promptTokens,
    outputTokens: 0,
    sentMs: [],
    tokens: [],
    endMs: null,
  };
  log.push(entry);
  if (script.hang) return;
  if (script.status !== undefined) {
    const retry = script.retryAfter === undefined ? "" : `retry-after: ${script.retryAfter}\r\n`;
    const text = JSON.stringify({
      error: { message: script.message ?? "the script says so", code: script.status },
    });
    socket.write(
      `HTTP/1.1 ${script.status} Refused\r\ncontent-type: application/json\r\n${retry}content-length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
    );
    return;
  }
  const { stallAll } = script;
  if (stallAll !== undefined && number === stallAll.requests) stalledUntilMs = receivedMs + stallAll.ms;
  const dueMs = Math.max(receivedMs + (script.ttftMs ?? 0), stalledUntilMs);
  const events = eventsFor(index, promptTokens);
  schedule({ socket, script, entry, events, next: 0, dueMs, hasHead: false, rest: null });
}

/** Writes the second part of an event that was cut. */
function flush(stream) {
  if (stream.rest !== null) stream.socket.write(stream.rest);
  stream.rest = null;
}

function play(stream) {
  const { socket, script, entry, events } = stream;
  if (socket.destroyed) return;
  flush(stream);
  const { eventsPerWrite = 1, splitWrites = false, stall, itlMs = 0, cutAfter, errorAfter } = script;
  const batch = [];
  let isLast = false;
  for (let i = 0; i < eventsPerWrite && stream.next < events.length; i += 1) {
    if (stream.next === cutAfter) {
      socket.destroy();
      return;
    }
    if (stream.next === errorAfter) {
      batch.push(chunk(sse({ error: { message: "the script says so", type: "server_error" } })));
      isLast = true;
      break;
    }
    const event = events[stream.next++];
    batch.push((event.chunk ??= chunk(event.bytes)));
    if (event.tokens > 0) {
      entry.outputTokens += event.tokens;
      entry.tokens.push(event.tokens);
      entry.sentMs.push(monotonicMs());
    } else i -= 1;
    // What carries no token goes out with the last that does.
    if (stream.next < events.length && events[stream.next].tokens === 0) i -= 1;
  }
  isLast ||= stream.next >= events.length;
  if (isLast) batch.push(Buffer.from("0\r\n\r\n"));
  if (!stream.hasHead) batch.unshift(Buffer.from(streamHead));
  stream.hasHead = true;
  const bytes = batch.length === 1 ? batch[0] : Buffer.concat(batch);
  if (splitWrites) {
    const inside = bytes.indexOf(0xc3);
    const cut = inside === -1 ? bytes.length >> 1 : inside + 1;
    socket.write(bytes.subarray(0, cut));
    stream.rest = bytes.subarray(cut);
    setImmediate(() => flush(stream));
  } else socket.write(bytes);
  if (isLast) {
    entry.endMs = monotonicMs();
    return;
  }
  stream.dueMs += itlMs;
  if (stall !== undefined && stream.next === stall.afterEvents) stream.dueMs += stall.ms;
  push(stream);
}

function answerJson(socket, value, status = "200 OK") {
  const text = JSON.stringify(value);
  socket.write(
    `HTTP/1.1 ${status}\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
  );
}

function answer(socket, headers, body) {
  const [method, path] = headers.split(" ", 2);
  const isReady = monotonicMs() - startedMs >= readyAfterMs;
  if (path === "/log") {
    answerJson(socket, log);
    log = [];
    numRequests = 0;
  } else if (!isReady) answerJson(socket, { error: "loading" }, "503 Loading");
  else if (path === "/v1/models") answerJson(socket, { data: [{ id: "scripted", max_model_len: 100000 }] });
  else if (method === "GET" && path === "/health") answerJson(socket, {});
  else if (method === "POST" && /^\/v1\/(chat\/)?completions$/.test(path)) begin(socket, headers, body);
  else answerJson(socket, { error: { message: `no ${path} here` } }, "404 Not Found");
}

const server = createServer({ noDelay: true }, (socket) => {
  let waiting = Buffer.alloc(0);
  socket.on("error", () => socket.destroy());
  socket.on("data", (part) => {
    waiting = waiting.length === 0 ? part : Buffer.concat([waiting, part]);
    for (;;) {
      const end = waiting.indexOf("\r\n\r\n");
      if (end === -1) return;
      const headers = waiting.subarray(0, end).toString("latin1");
      const length = Number(/^content-length: *(\d+)/im.exec(headers)?.[1] ?? 0);
      if (waiting.length < end + 4 + length) return;
      const body = waiting.subarray(end + 4, end + 4 + length).toString();
      waiting = waiting.subarray(end + 4 + length);
      answer(socket, headers, body);
    }
  });
});
server.listen({ port: 0, host: "127.0.0.1", backlog: 4096 }, () =>
  process.stdout.write(`${JSON.stringify({ url: `http://127.0.0.1:${server.address().port}` })}\n`),
);
