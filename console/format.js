/* Numbers, quotas and times as a person reads and types them. Quotas are exact: BigInt throughout. */

import { h } from "./dom.js";
import { language, t } from "./language.js";
import { choices, session } from "./session.js";

/* A formatter of Intl, for the present language. Making one takes longer than using it. */
const formatters = new Map();

function intl(Formatter, options = {}) {
  const key = [Formatter.name, language(), ...Object.values(options)].join();
  if (!formatters.has(key)) formatters.set(key, new Formatter(language(), options));
  return formatters.get(key);
}

export const number = (value) => intl(Intl.NumberFormat).format(value);

/* ---- quotas ---- */

export const isMoney = () => choices.unit === "money";

const MONEY_DIGITS = 6;

export function quota(units) {
  return isMoney() ? money(units) : number(units);
}

/* In full cents, more digits only where they are needed; exact up to a millionth. */
function money(units) {
  const amount = decimal(BigInt(units), BigInt(session.site.quota_per_unit), MONEY_DIGITS);
  return intl(Intl.NumberFormat, {
    style: "currency",
    currency: "USD",
    currencyDisplay: "narrowSymbol",
    maximumFractionDigits: MONEY_DIGITS,
  }).format(amount);
}

/* value / divisor as a decimal text, cut after some digits. */
function decimal(value, divisor, digits) {
  const scaled = (value * 10n ** BigInt(digits)) / divisor;
  const text = String(scaled < 0n ? -scaled : scaled).padStart(digits + 1, "0");
  return `${scaled < 0n ? "-" : ""}${text.slice(0, -digits)}.${text.slice(-digits)}`;
}

/* As it stands in an input: without separators. */
export function quotaInput(units) {
  if (!isMoney()) return String(units);
  return decimal(BigInt(units), BigInt(session.site.quota_per_unit), 12).replace(/\.?0+$/, "");
}

/* The units that a person has typed; null if it is no number. Blanks and underlines may separate digits,
 * commas thousands: "2,50" is not 250. Of money what is below a unit is cut off. */
export function parseQuota(text) {
  const found = /^(-?)(\d+)(?:\.(\d+))?$/.exec(text.replace(/[\s_$]|,(?=\d{3}(?!\d))/g, ""));
  if (!found || (found[3] && !isMoney())) return null;
  const [, sign, whole, fraction = ""] = found;
  const value = BigInt(whole + fraction) * (isMoney() ? BigInt(session.site.quota_per_unit) : 1n);
  const units = value / 10n ** BigInt(fraction.length);
  return sign ? -units : units;
}

/* ---- times, in Unix seconds ---- */

export const NEVER = -1;
const DAY_S = 86400;

export const nowS = () => Math.floor(Date.now() / 1000);

export function dateTime(unixS) {
  return intl(Intl.DateTimeFormat, { dateStyle: "medium", timeStyle: "short" }).format(toDate(unixS));
}

const LAST_DATE_MS = 8.64e15; // of JavaScript
export const toDate = (unixS) => new Date(Math.min(Number(unixS) * 1000, LAST_DATE_MS));

/* Units, their length, and from how many on they are used: "in 40 days" says more than "next month". */
const UNITS = [
  ["year", 365 * DAY_S, 2],
  ["month", 30 * DAY_S, 3],
  ["day", DAY_S, 1],
  ["hour", 3600, 1],
  ["minute", 60, 1],
  ["second", 1, 0],
];

/* "in 3 days", "2 hours ago". */
function relative(unixS) {
  const seconds = Number(unixS) - nowS();
  const [unit, length] = UNITS.find(([, span, count]) => Math.abs(seconds) >= span * count);
  return intl(Intl.RelativeTimeFormat, { numeric: "auto" }).format(Math.round(seconds / length), unit);
}

/* A day, "2026-11-26", as the service says it (in its TOKEN_TIMEZONE). */
export const day = (text) =>
  intl(Intl.DateTimeFormat, { dateStyle: "medium", timeZone: "UTC" }).format(new Date(`${text}T00:00:00Z`));

/* A time as an element: relative, and in full as its title. */
export function time(unixS) {
  const date = toDate(unixS);
  return h("time", { datetime: date.toISOString(), title: dateTime(unixS) }, relative(unixS));
}

export const timeOrNever = (unixS) =>
  unixS === NEVER ? h("span", { class: "muted" }, t("expires_never")) : time(unixS);

/* A time for <input type=datetime-local>, in the reader's zone, and back. */
export function timeInput(unixS) {
  const date = toDate(unixS);
  const local = Math.min(date - date.getTimezoneOffset() * 60000, LAST_DATE_MS);
  return new Date(local).toISOString().slice(0, 19);
}

export const parseTimeInput = (text) => (text ? Math.floor(new Date(text).getTime() / 1000) : null);
