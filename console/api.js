/* The API: one function a route, and what all requests have in common. Paths are relative, so that the
 * console works below any prefix of a site. */

import { parse, stringify } from "./json.js";
import { session } from "./session.js";

export const base = new URL("..", document.baseURI);

/* code: the API's word, or "offline" and "failed" (an answer that is not the API's). retryAfter: in
 * seconds, null if the answer has none. */
export class ApiError extends Error {
  constructor(status, code, message, retryAfter = null) {
    super(message);
    Object.assign(this, { status, code, retryAfter });
  }
}

/* Whether the credentials are not good, or no longer. */
export const isRefused = ({ code }) => code === "unauthorized" || code === "user_disabled";

/* "wait" with the seconds before a request is repeated, "go" after that; "refused" with the
 * error when the credentials are. */
export const events = new EventTarget();
const tell = (name, detail) => events.dispatchEvent(new CustomEvent(name, { detail }));

/* ---- requests ---- */

const TRIES_MAX = 4;
const WAIT_MAX_S = 60; // longer waits are told instead
const ANSWER_MAX_S = 120; // nginx gives up earlier

/* Returns the answer, without the envelope if it has nothing else than data. Options: query (members
 * that are "" or null are left out), body, idempotencyKey. Throws ApiError. */
async function request(method, path, options = {}) {
  const { credentials } = session;
  for (let tries = 1; ; tries++) {
    try {
      return await requestOnce(method, path, options);
    } catch (error) {
      const isRepeated = tries < TRIES_MAX && mayRepeat(error, method, options) && (await wait(error.retryAfter, method));
      if (!isRepeated || session.credentials !== credentials) throw told(error, method);
    }
  }
}

/* A page that shows what was perhaps changed, or is no longer there, is "stale". */
function told(error, method) {
  if (method !== "GET" && (error.code === "unknown" || error.code === "not_found")) tell("stale");
  return error;
}

/* "unknown" means that the request is perhaps done. */
function mayRepeat(error, method, options) {
  if (error.retryAfter === null || error.retryAfter > WAIT_MAX_S) return false;
  return error.code !== "unknown" || method === "GET" || Boolean(options.idempotencyKey);
}

const waits = new Set();

/* What waits to be repeated and is more than a question fails instead. */
export const abandonWaits = () => waits.forEach((abandon) => abandon(false));

/* Resolves with whether it was not abandoned. */
async function wait(seconds, method) {
  tell("wait", seconds);
  let abandon;
  const isOver = await new Promise((resolve) => {
    abandon = resolve;
    if (method !== "GET") waits.add(abandon);
    setTimeout(() => resolve(true), seconds * 1000);
  });
  waits.delete(abandon);
  tell("go");
  return isOver;
}

async function requestOnce(method, path, options) {
  const { credentials } = session;
  const [response, text] = await send(method, path, options);
  const answer = readAnswer(response, text);
  if (answer.success === true) return "refused" in answer ? answer : answer.data;
  const retryAfter = response.headers.get("Retry-After");
  const error = new ApiError(
    response.status,
    answer.code ?? "failed",
    answer.message || `HTTP ${response.status}`,
    retryAfter === null ? null : Number(retryAfter) || 1,
  );
  if (isRefused(error) && session.credentials === credentials) tell("refused", error);
  throw error;
}

async function send(method, path, { query, body, idempotencyKey }) {
  const url = new URL(path, base);
  for (const [name, value] of Object.entries(query ?? {}))
    if (value !== "" && value !== null && value !== undefined) url.searchParams.set(name, value);
  try {
    const response = await fetch(url, {
      method,
      headers: headers(body, idempotencyKey),
      body: body === undefined ? undefined : stringify(body),
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
      signal: AbortSignal.timeout(ANSWER_MAX_S * 1000),
    });
    return [response, await response.text()];
  } catch {
    throw new ApiError(0, "offline", "The service does not answer");
  }
}

function headers(body, idempotencyKey) {
  const { token, user } = session.credentials ?? {};
  return Object.fromEntries(
    [
      ["Authorization", token && `Bearer ${token}`],
      ["New-Api-User", user],
      ["Content-Type", body !== undefined && "application/json"],
      ["Idempotency-Key", idempotencyKey],
    ].filter(([, value]) => value),
  );
}

function readAnswer(response, text) {
  try {
    return parse(text);
  } catch {
    throw new ApiError(response.status, "failed", `HTTP ${response.status}`);
  }
}

/* Not crypto.randomUUID(): without TLS there is none. */
export function newIdempotencyKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/* ---- the site and the person ---- */

export const site = () => request("GET", "api/status");

export const self = {
  get: () => request("GET", "api/user/self"),
  groups: () => request("GET", "api/user/self/groups"),
  models: () => request("GET", "api/user/models"),
  usage: (days) => request("GET", "api/user/self/usage", { query: { days } }),
  log: (query) => request("GET", "api/log/self", { query }),
  rotate: () => request("POST", "api/user/self/rotate"),
};

/* ---- tokens; owner: the user id whose they are, for administrators; absent: one's own ---- */

export const tokens = {
  get: (id, owner) => request("GET", `api/token/${id}`, { query: { user_id: owner } }),
  page: (query, owner) => tokenPage(query, { user_id: owner }),
  create: (body, idempotencyKey) => request("POST", "api/token/", { body, idempotencyKey }),
  update: (body, owner) => request("PUT", "api/token/", { body, query: { user_id: owner } }),
  setStatus: (id, status, owner) =>
    request("PUT", "api/token/", { body: { id, status }, query: { status_only: true, user_id: owner } }),
  setStatuses: (ids, status, owner) =>
    request("POST", "api/token/batch/status", { body: { ids, status }, query: { user_id: owner } }),
  remove: (id, owner) => request("DELETE", `api/token/${id}`, { query: { user_id: owner } }),
  removeAll: (ids, owner) =>
    request("POST", "api/token/batch", { body: { ids }, query: { user_id: owner } }),
  key: async (id) => (await request("POST", `api/token/${id}/key`)).key,
  keys: async (ids) => (await request("POST", "api/token/batch/keys", { body: { ids } })).keys,
  rotate: (id, grace_seconds, idempotencyKey) =>
    request("POST", `api/token/${id}/rotate`, { body: { grace_seconds }, idempotencyKey }),
  usage: (id, days, owner) =>
    request("GET", `api/token/${id}/usage`, { query: { days, user_id: owner } }),
  find: (key) => request("POST", "api/token/find", { body: { key } }),
};

/* A search goes in a body, as a key must not stand in a URL. */
function tokenPage({ keyword, token, ...rest }, query) {
  if (!keyword && !token) return request("GET", "api/token/", { query: { ...rest, ...query } });
  const members = { ...rest, keyword, token, status: rest.status && Number(rest.status) };
  const body = Object.fromEntries(Object.entries(members).filter(([, value]) => value !== ""));
  return request("POST", "api/token/search", { body, query });
}

/* ---- users, for administrators ---- */

export const users = {
  page: (query) =>
    request("GET", query.keyword || query.group ? "api/user/search" : "api/user/", { query }).catch(explain),
  get: (id) => request("GET", `api/user/${id}`),
  create: (body) => request("POST", "api/user/", { body }),
  update: (body) => request("PUT", "api/user/", { body }),
  manage: (id, action) => request("POST", "api/user/manage", { body: { id, action } }),
  remove: (id) => request("DELETE", `api/user/${id}`),
  log: (query) => request("GET", "api/log/", { query }).catch(explain),
};

/* The public server of nginx.conf.example does not have these routes. */
function explain(error) {
  throw error.status === 404 ? new ApiError(404, "internal_only", error.message) : error;
}
