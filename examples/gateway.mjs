// A gateway in front of an OpenAI-like API: reserves an estimate of a request's cost at token.fcgi, calls the
// upstream, and settles at the use that the upstream reports. README.md says how to run it. Node 18 or later.

import {randomUUID} from "node:crypto";
import {createServer} from "node:http";
import {buffer} from "node:stream/consumers";
import {setTimeout as sleep} from "node:timers/promises";

const {GATEWAY_SECRET, UPSTREAM_KEY, PORT = "8000", INTERNAL = "http://127.0.0.1:8081/api/token/",
  UPSTREAM = "https://api.openai.com/v1/chat/completions"} = process.env;
const PRICES = {"gpt-4o": [1250, 5000], "gpt-4o-mini": [75, 300]}; // units for 1,000 tokens: prompt, completion
const UPSTREAM_S = 300, TTL_S = 900; // a reservation that has not ended after TTL_S is settled at its amount

function cost(model, use, ratio = 1) {
  const [prompt, completion] = PRICES[model];
  const thousandths = use.prompt_tokens * prompt + use.completion_tokens * completion;
  if (!Number.isFinite(thousandths)) throw new Error("no numbers");
  return Math.ceil(thousandths * Math.round(ratio * 1e6) / 1e9); // a ratio has up to six decimals
}

const post = (url, body, headers, timeoutS) => fetch(url, {
  method: "POST", body: JSON.stringify(body), signal: AbortSignal.timeout(timeoutS * 1000),
  headers: {"Content-Type": "application/json", ...headers},
});

// Asks token.fcgi; {} without an answer. Nothing is done twice: token.fcgi knows a reserve by its transaction_id, and
// a reservation ends once.
async function call(route, body, tries = 3) {
  for (; tries > 0; tries--) {
    try {
      const reply = await post(INTERNAL + route, body, {"X-Gateway-Token": GATEWAY_SECRET}, 10);
      if (reply.status < 500) return {status: reply.status, headers: reply.headers, ...await reply.json()};
    } catch {} // no connection, no answer in time, or half of one
    await sleep(1000);
  }
  return {};
}

// Without a body: the head of a stream.
function answer(outgoing, status, body, retryAfter) {
  if (retryAfter) outgoing.setHeader("Retry-After", retryAfter);
  outgoing.writeHead(status, {"Content-Type": body ? "application/json" : "text/event-stream"});
  if (body) outgoing.end(JSON.stringify(body));
}

const fail = (outgoing, status, code, message, retryAfter) =>
  answer(outgoing, status, {error: {message, type: code, code}}, retryAfter);

async function serve(incoming, outgoing) {
  let request, estimate, body;
  try {
    const text = await buffer(incoming);
    request = JSON.parse(text);
    const completion = Math.floor(Number(request.max_completion_tokens || request.max_tokens || 4096));
    estimate = {prompt_tokens: Math.floor(text.length / 3), completion_tokens: completion}; // few tokens are shorter
    body = {
      key: (incoming.headers.authorization ?? "").replace(/^Bearer /, ""), model: request.model,
      ip: incoming.headers["x-real-ip"] ?? incoming.socket.remoteAddress, ttl_seconds: TTL_S,
      amount: cost(request.model, estimate), transaction_id: randomUUID(),
    };
    if (incoming.method !== "POST" || incoming.url !== "/v1/chat/completions") throw new Error("no such route");
  } catch {
    return fail(outgoing, 400, "invalid", `POST to /v1/chat/completions, with a model of ${Object.keys(PRICES)}`);
  }
  let reply = await call("reserve", body);
  if (reply.status === 200) return forward(request, outgoing, estimate, reply.data);
  if (reply.code === "unauthorized") return fail(outgoing, 500, "gateway", "The gateway's own secret is wrong");
  const status = reply.code === "balance" ? 402 : reply.status, retryAfter = reply.headers?.get("Retry-After");
  if (status) return fail(outgoing, status, reply.code, reply.message, retryAfter);
  fail(outgoing, 503, "unavailable", "Try again later", 5); // it may have been done: asks again, and cancels it
  reply = await call("reserve", body, TTL_S);
  if (reply.status === 200) await call("cancel", {reservation: reply.data.reservation});
}

async function forward(request, outgoing, estimate, {reservation, group_ratio}) {
  const {model, stream, stream_options: options} = request;
  let whole, amount, failure = [502, "upstream", "No answer"];
  try {
    if (stream) request.stream_options = {...options, include_usage: true}; // in its last event
    const reply = await post(UPSTREAM, request, {Authorization: `Bearer ${UPSTREAM_KEY}`}, UPSTREAM_S);
    if ([400, 413, 422, 429].includes(reply.status))
      failure = [reply.status, "upstream", await reply.text(), reply.headers.get("Retry-After")];
    if (!reply.ok) throw new Error(`the upstream answered ${reply.status}`);
    whole = stream ? undefined : await reply.json();
    const use = stream ? await passOn(reply, outgoing, estimate, options?.include_usage) : whole.usage;
    amount = cost(model, use, group_ratio);
  } catch { // whatever it is, the client does not pay for it
    await call("cancel", {reservation});
    return fail(outgoing, ...failure);
  }
  const {data: {shortfall} = {shortfall: "unknown"}} = await call("settle", {reservation, amount});
  if (shortfall) // what token and owner did not have left
    console.error(`reservation ${reservation} settled at ${amount}: shortfall ${shortfall}`);
  if (stream) outgoing.end();
  else answer(outgoing, 200, whole);
}

// Passes a stream's lines on and returns the use. It reads to the end, also if the client has gone: the upstream
// works and bills on. If the stream breaks off, each event counts as a token.
async function passOn(reply, outgoing, estimate, asksUse) {
  let events = 0, lines = [""], use;
  try {
    for await (const text of reply.body.pipeThrough(new TextDecoderStream())) {
      if (!outgoing.headersSent) answer(outgoing, 200);
      lines = (lines.pop() + text).split("\n"); // the last one may be half a line
      for (const line of lines.slice(0, -1)) {
        const event = line.startsWith("data: {") ? JSON.parse(line.slice(6)) : undefined;
        use = event?.usage ?? use;
        if (event) events++;
        if (event?.choices?.length !== 0 || asksUse) // others may not expect an event without a choice
          outgoing.write(line + "\n"); // small enough to wait in memory for a slow client
      }
    }
  } catch {}
  if (!outgoing.headersSent) throw new Error("the stream is empty"); // the client can still be told
  return {...estimate, completion_tokens: events, ...use};
}

createServer((incoming, outgoing) => serve(incoming, outgoing).catch(() => outgoing.destroy()))
  .listen(Number(PORT), "127.0.0.1");
