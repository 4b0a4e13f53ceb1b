// A gateway in front of an OpenAI-like API: reserves an estimate of a request's cost at token.fcgi, calls the
// upstream, and settles at the use that the upstream reports. README.md says how to run it. Node 18 or later.

import {randomUUID} from "node:crypto";
import {createServer} from "node:http";
import {setTimeout as sleep} from "node:timers/promises";

const {
  INTERNAL = "http://127.0.0.1:8081/api/token/",
  UPSTREAM = "https://api.openai.com/v1/chat/completions",
  GATEWAY_SECRET, UPSTREAM_KEY, PORT = "8000",
} = process.env;
const PRICES = {"gpt-4o": [1250, 5000], "gpt-4o-mini": [75, 300]}; // units for 1,000 tokens: prompt, completion
const UPSTREAM_MS = 300_000;
const TTL_S = 900; // longer than a request takes: a reservation that has not ended by then is settled at its amount

// What the client is told.
class Failure extends Error {
  constructor(status, code, message, retryAfter) {
    super(message);
    Object.assign(this, {status, code, retryAfter});
  }
}

function cost(model, promptTokens, completionTokens, ratio = 1) {
  const [prompt, completion] = PRICES[model];
  const millionths = Math.round(ratio * 1e6); // a ratio has up to six decimals
  return Math.ceil((promptTokens * prompt + completionTokens * completion) * millionths / 1e9);
}

// Asks token.fcgi, three times if need be; undefined: no answer. Nothing is done twice: token.fcgi knows a reserve
// by its transaction_id, and a reservation ends once.
async function call(route, body) {
  for (let attempt = 0; attempt < 3; attempt++) {
    let waitS = 1;
    try {
      const reply = await fetch(INTERNAL + route, {
        method: "POST", body: JSON.stringify(body), signal: AbortSignal.timeout(10_000),
        headers: {"Content-Type": "application/json", "X-Gateway-Token": GATEWAY_SECRET},
      });
      const answer = await reply.json();
      if (reply.status !== 503) return {status: reply.status, headers: reply.headers, ...answer};
      waitS = Number(reply.headers.get("Retry-After") ?? 1);
    } catch {} // no connection, no answer in time, or half of one
    await sleep(waitS * 1000);
  }
}

async function reserve(body) {
  body = {...body, ttl_seconds: TTL_S, transaction_id: randomUUID()};
  const reply = await call("reserve", body);
  if (!reply) {
    giveBack(body);
    throw new Failure(503, "unavailable", "Try again later", "5");
  }
  if (reply.status === 200) return reply.data;
  if (reply.code === "unauthorized") throw new Failure(500, "gateway", "The gateway's own secret is wrong");
  const status = reply.code === "balance" ? 402 : reply.status;
  throw new Failure(status, reply.code, reply.message, reply.headers.get("Retry-After"));
}

// A reserve without an answer may have been done: asks again, for longer, and cancels it.
async function giveBack(body) {
  const until = Date.now() + TTL_S * 1000;
  let reply;
  while (!reply && Date.now() < until) reply = await call("reserve", body);
  if (reply?.status === 200) await call("cancel", {reservation: reply.data.reservation});
}

async function settle(reservation, amount) {
  const reply = await call("settle", {reservation, amount});
  const shortfall = reply?.status === 200 ? reply.data.shortfall : "unknown";
  if (shortfall !== 0) // what the token and its owner did not have left
    console.error(`reservation ${reservation} settled at ${amount}: shortfall ${shortfall}`);
}

// The request, and estimates of its tokens: most texts have three bytes or more for each.
async function readRequest(incoming) {
  const chunks = [];
  let length = 0;
  for await (const chunk of incoming) {
    if ((length += chunk.length) > 10_000_000) throw new Failure(413, "too_large", "The body is too large");
    chunks.push(chunk);
  }
  let request;
  try { request = JSON.parse(Buffer.concat(chunks)); } catch {}
  const completion = Number(request?.max_completion_tokens || request?.max_tokens || 4096);
  const isRoute = incoming.method === "POST" && incoming.url === "/v1/chat/completions";
  if (!isRoute || !Object.hasOwn(PRICES, request?.model) || !(completion >= 0))
    throw new Failure(400, "invalid", `POST to /v1/chat/completions, with a model of ${Object.keys(PRICES)}`);
  return [request, Math.floor(length / 3), Math.floor(completion)];
}

async function serve(incoming, outgoing) {
  const [request, promptTokens, completionTokens] = await readRequest(incoming);
  const {model, stream} = request;
  const held = await reserve({
    key: (incoming.headers.authorization ?? "").replace(/^Bearer /, ""), model,
    amount: cost(model, promptTokens, completionTokens),
    ip: incoming.headers["x-real-ip"] ?? incoming.socket.remoteAddress, // from the nginx in front
  });
  let answer, amount;
  try {
    const asksUse = request.stream_options?.include_usage;
    if (stream) request.stream_options = {...request.stream_options, include_usage: true}; // in its last event
    const reply = await fetch(UPSTREAM, {
      method: "POST", body: JSON.stringify(request), signal: AbortSignal.timeout(UPSTREAM_MS),
      headers: {"Content-Type": "application/json", Authorization: `Bearer ${UPSTREAM_KEY}`},
    });
    if ([400, 413, 422, 429].includes(reply.status))
      throw new Failure(reply.status, "upstream", await reply.text(), reply.headers.get("Retry-After"));
    if (!reply.ok) throw new Error(`the upstream answered ${reply.status}`);
    answer = stream ? undefined : await reply.json();
    const use = stream ? await passOn(reply, outgoing, promptTokens, asksUse) : answer.usage;
    amount = cost(model, use.prompt_tokens, use.completion_tokens, held.group_ratio);
  } catch (error) {
    await call("cancel", {reservation: held.reservation});
    throw error instanceof Failure ? error : new Failure(502, "upstream", "No answer");
  }
  await settle(held.reservation, amount);
  if (stream) outgoing.end();
  else outgoing.writeHead(200, {"Content-Type": "application/json"}).end(JSON.stringify(answer));
}

// Passes a stream's lines on and returns the use. It reads to the end, also if the client has gone: the upstream
// works and bills on. If the stream breaks off, each event counts as a token.
async function passOn(reply, outgoing, promptTokens, asksUse) {
  let events = 0, rest = "", use;
  try {
    for await (const text of reply.body.pipeThrough(new TextDecoderStream())) {
      if (!outgoing.headersSent) outgoing.writeHead(200, {"Content-Type": "text/event-stream"});
      const lines = (rest + text).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        const event = line.startsWith("data: {") ? JSON.parse(line.slice(6)) : undefined;
        use = event?.usage ?? use;
        if (event) events++;
        if (event?.choices?.length !== 0 || asksUse) // others may not expect an event without a choice
          outgoing.write(line + "\n"); // small enough to wait in memory for a slow client
      }
    }
  } catch {}
  if (!outgoing.headersSent) throw new Error("the stream is empty"); // the client can still be told
  return use ?? {prompt_tokens: promptTokens, completion_tokens: events};
}

createServer((incoming, outgoing) => {
  serve(incoming, outgoing).catch(({status = 500, code = "gateway", message, retryAfter}) => {
    if (retryAfter) outgoing.setHeader("Retry-After", retryAfter);
    outgoing.writeHead(status, {"Content-Type": "application/json"});
    outgoing.end(JSON.stringify({error: {message, type: code, code}}));
  });
}).listen(Number(PORT), "127.0.0.1");
