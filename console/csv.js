/* Comma-separated values (RFC 4180), out and in. */

import { h } from "./dom.js";
import { NEVER, toDate } from "./format.js";

const TOKEN_FIELDS = [
  "id", "name", "status", "group", "remain_quota", "used_quota", "unlimited_quota", "expired_time",
  "model_limits", "model_limits_enabled", "allow_ips", "rpm_limit", "tpm_limit", "max_parallel_requests",
  "refill_interval", "refill_amount", "refill_day", "created_time", "accessed_time",
];

const TIMES = new Set(["expired_time", "created_time", "accessed_time"]);

/* One line a token, with headings; keys only where they are asked for. */
function tokensCsv(tokens, { withKeys = false } = {}) {
  const fields = withKeys ? ["name", "key", ...TOKEN_FIELDS.filter((name) => name !== "name")] : TOKEN_FIELDS;
  const rows = tokens.map((token) => fields.map((name) => (TIMES.has(name) ? isoTime(token[name]) : token[name] ?? "")));
  return [fields, ...rows].map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}

const isoTime = (unixS) => (unixS === NEVER ? "never" : toDate(unixS).toISOString());

/* Saves it as a file. */
export function saveCsv(name, tokens, options) {
  const url = URL.createObjectURL(new Blob([tokensCsv(tokens, options)], { type: "text/csv" }));
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/* Spreadsheets run a text that begins like a formula, some also with the wide forms of = + - @. An apostrophe
 * makes it a text for them. */
const FORMULA = /^'*[=+\-@\t\r\n＝＋－＠]/;

function cell(value) {
  const text = String(value);
  const harmless = FORMULA.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless;
}

/* The objects of a text with headings in its first line: {heading: text}. The apostrophe that cell() sets
 * is taken off. */
export function parseCsv(text) {
  const [headings = [], ...rows] = parseRows(text.replace(/^\ufeff/, "").replace(/\r\n?/g, "\n"));
  const names = headings.map((name) => name.trim().toLowerCase());
  return rows
    .filter((row) => row.some((value) => value !== ""))
    .map((row) => Object.fromEntries(names.map((name, i) => [name, uncell(row[i] ?? "")])));
}

const uncell = (text) => (text.startsWith("'") && FORMULA.test(text) ? text.slice(1) : text);

function parseRows(text) {
  const rows = [[]];
  // A quoted or bare value, and what ends it.
  for (const [, quoted, bare, end] of text.matchAll(/(?:"((?:[^"]|"")*)"|([^,\n]*))(,|\n|$)/g)) {
    rows.at(-1).push(quoted === undefined ? bare : quoted.replaceAll('""', '"'));
    if (end === "") break;
    if (end !== ",") rows.push([]);
  }
  return rows;
}
