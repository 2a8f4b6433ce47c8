// Clients of a soak: each asks, reads or leaves, and asks again, until the load is ended.
import http from "node:http";

/** A request that was sent longer ago has surely been read. */
const onItsWayMs = 100;

/** Numbers in [0, 1) from a seed (mulberry32). */
export function randomFrom(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const words =
  "Mia has a red ball and Tom the blue one of a small mill by the river where five ducks swim".split(" ");

/** What is asked, and after how many milliseconds its client leaves; null for one that stays. */
function makeRequest(random) {
  const pick = (count) => Math.floor(random() * count);
  const text = Array.from({ length: 1 + pick(60) }, () => words[pick(words.length)]).join(" ");
  const stream = random() < 0.8;
  const common = { max_tokens: 4 + pick(60), temperature: random() < 0.5 ? 0 : 1, stream, ignore_eos: true };
  const isChat = random() < 0.5;
  return {
    path: isChat ? "/v1/chat/completions" : "/v1/completions",
    body: { ...common, ...(isChat ? { messages: [{ role: "user", content: text }] } : { prompt: text }) },
    leavesAfterMs: random() < 0.2 ? pick(1500) : null,
  };
}

/** Why an answer is not whole, or null. */
function faultOf({ body: { stream } }, status, text) {
  if (status !== 200) return `status ${status}: ${text.slice(0, 200)}`;
  if (stream && !text.trimEnd().endsWith("data: [DONE]")) return "a stream without [DONE]";
  return text.includes('"finish_reason":"length"') ? null : `no finish_reason: ${text.slice(-200)}`;
}

/**
 * One request to its end. `kind` is `done`, `left`, `refused` (503, or no connection), `cut` (an answer that had begun
 * and was not completed), `unanswered` (no answer at all) or `failed`.
 */
function send(url, agent, request) {
  return new Promise((resolve) => {
    let hasBegun = false;
    let hasLeft = false;
    const outgoing = http.request(url + request.path, { method: "POST", agent }, (incoming) => {
      hasBegun = true;
      let text = "";
      incoming.setEncoding("utf8").on("data", (part) => (text += part));
      incoming.once("error", (error) => (hasLeft ? finish("left") : finish("cut", error.message)));
      incoming.once("end", () => {
        const fault = faultOf(request, incoming.statusCode, text);
        if (fault === null) finish("done");
        else finish(incoming.statusCode === 503 ? "refused" : "failed", fault);
      });
    });
    const leave = () => {
      hasLeft = true;
      outgoing.destroy();
    };
    const timer = request.leavesAfterMs === null ? null : setTimeout(leave, request.leavesAfterMs);
    const finish = (kind, detail = "") => {
      clearTimeout(timer);
      resolve({ kind, detail });
    };
    outgoing.once("error", (error) => {
      if (hasLeft) finish("left");
      else finish(hasBegun ? "cut" : "unanswered", error.message);
    });
    outgoing.end(JSON.stringify(request.body));
  });
}

/**
 * `count` clients that ask one request after the other. `end` lets each finish its last one; `strike` says that the server
 * is told to end: what is sent later may find nobody. `outcomes` counts by kind, `details` holds what was said of those
 * that did not go well.
 */
export function startClients(url, count, random) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: count });
  const outcomes = { done: 0, left: 0, refused: 0, cut: 0, unanswered: 0, failed: 0 };
  const details = [];
  let isEnding = false;
  let struckAt = Number.POSITIVE_INFINITY;
  const client = async () => {
    while (!isEnding) {
      const sentAt = performance.now();
      const ended = await send(url, agent, makeRequest(random));
      const { detail } = ended;
      // What was on its way at the signal may have met a connection that was just closed as idle.
      const isTooLate = ended.kind === "unanswered" && sentAt > struckAt - onItsWayMs;
      const kind = isTooLate ? "refused" : ended.kind;
      outcomes[kind] += 1;
      if (detail !== "") details.push(`${kind}: ${detail}`);
      // A server that is gone ends its clients.
      if (kind === "refused" || kind === "unanswered") return;
    }
  };
  const all = Promise.all(Array.from({ length: count }, client)).then(() => agent.destroy());
  return {
    outcomes,
    details,
    /** Resolves when all clients have ended by themselves, which they do when the server is gone. */
    ended: all,
    strike: () => {
      struckAt = performance.now();
    },
    end: () => {
      isEnding = true;
      return all;
    },
  };
}
