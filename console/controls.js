/* Controls of dialogs. Each function makes one:
 *
 *   node      the element or elements
 *   input     the one that the label is for and that gets the focus
 *   get()     the value, of the kind that it was made with; throws a ControlError that says what is wrong
 */

import { h, newId, selectElement } from "./dom.js";
import { dateTime, nowS, NEVER, number, parseQuota, parseTimeInput, quota, quotaInput, isMoney, timeInput } from "./format.js";
import { t } from "./language.js";

export class ControlError extends Error {}

/* ---- texts, numbers, choices ---- */

export function text(value, attributes = {}) {
  const input = h("input", { type: "text", autocomplete: "off", spellcheck: "false", value, ...attributes });
  return { node: input, input, get: () => input.value.trim() };
}

/* Lines or what commas separate, blanks within are part of it: an array. */
export function list(value, attributes = {}) {
  const input = h("textarea", { rows: 2, spellcheck: "false", value: value.join("\n"), ...attributes });
  const get = () => input.value.split(/[\n,，]/).map((one) => one.trim()).filter(Boolean);
  return { node: input, input, get };
}

/* An empty one is min. */
export function integer(value, { min, max, placeholder = min === 0 && t("no_limit"), ...attributes }) {
  const typedValue = value === 0 && min === 0 ? "" : String(value);
  const control = text(typedValue, { inputmode: "numeric", placeholder, ...attributes });
  const get = () => {
    const typed = control.get() || String(min);
    if (!/^\d{1,16}$/.test(typed) || typed < min || typed > max)
      throw new ControlError(t("bad_integer", { min: number(min), max: number(max) }));
    return Number(typed);
  };
  return { ...control, get };
}

/* options: [value, label] pairs. */
export function select(value, options, attributes = {}) {
  const input = selectElement(value, options, attributes);
  return { node: input, input, get: () => input.value };
}

export function checkbox(value, label, attributes = {}) {
  const input = h("input", { type: "checkbox", checked: value, ...attributes });
  return { node: h("label", { class: "check" }, input, label), input, get: () => input.checked };
}

/* Units, 0 or more. */
export function quotaAmount(units, attributes = {}) {
  const control = text(quotaInput(units), { inputmode: "decimal", ...attributes });
  return { ...control, get: () => parseQuotaOf(control.get() || "0") };
}

function parseQuotaOf(typed) {
  const units = parseQuota(typed);
  if (units === null) throw new ControlError(t(isMoney() ? "bad_money" : "bad_quota"));
  if (units < 0n) throw new ControlError(t("bad_negative"));
  return units;
}

/* ---- a quota, or none: {units, isUnlimited} ---- */

/* units null: nothing yet; if the field stays empty, get() has null too where `otherwise` says what that means,
 * and throws where it is absent. With units, what is typed is told as a difference, as that is what is sent. */
export function quotaOrUnlimited({ units, isUnlimited, otherwise }, attributes = {}) {
  const placeholder = otherwise && quota(otherwise);
  const { input } = text(units === null ? "" : quotaInput(units), { inputmode: "decimal", placeholder, ...attributes });
  const unlimited = checkbox(isUnlimited, t("unlimited"), { testid: "field-unlimited" });
  const hint = h("p", { class: "hint", "aria-live": "polite" });
  const isLeftOut = () => otherwise && input.value.trim() === "";
  const draw = () => {
    const typed = parseQuota(input.value);
    input.classList.toggle("unused", unlimited.get());
    if (isLeftOut()) hint.textContent = t("if_empty", { quota: quota(otherwise) });
    else hint.textContent = typed === null ? "" : describe(typed, units);
    hint.hidden = unlimited.get();
  };
  input.addEventListener("input", () => {
    if (input.value) unlimited.input.checked = false; // who types a quota means it
    draw();
  });
  unlimited.input.addEventListener("change", draw);
  draw();
  const get = () => {
    const isUnlimited = unlimited.get();
    return { units: isUnlimited || isLeftOut() ? null : parseQuotaOf(input.value), isUnlimited };
  };
  return { node: [h("div", { class: "row" }, input, unlimited.node), hint], input, get };
}

/* What to send of a changed one, whose units are object[member]. Present units are sent as a difference: what is
 * spent while the dialog is open is never given back. */
export function quotaPatch({ units, isUnlimited }, object, member) {
  const patch = isUnlimited === object.unlimited_quota ? {} : { unlimited_quota: isUnlimited };
  if (units === null) return patch;
  if (object[member] === null) return { ...patch, [member]: units };
  const added = units - BigInt(object[member]);
  return added === 0n ? patch : { ...patch, add_quota: added };
}

/* As of the units that were used when object was shown: if an answer was lost, this tells whether its quota was added. */
export function rebase(object, member, now) {
  const spent = now.unlimited_quota ? 0n : BigInt(now.used_quota) - BigInt(object.used_quota);
  object[member] = BigInt(now[member]) + spent;
}

function describe(typed, before) {
  const meaning = isMoney() ? t("is_units", { units: number(typed) }) : "";
  const change = before === null ? 0n : typed - BigInt(before);
  if (change === 0n) return meaning;
  const word = change > 0n ? "adds_quota" : "takes_quota";
  return `${t(word, { quota: quota(change > 0n ? change : -change) })} ${meaning}`;
}

/* ---- a time at which something expires: Unix seconds, or NEVER ---- */

const SPANS_S = { "1h": 3600, "1d": 86400, "7d": 7 * 86400, "30d": 30 * 86400, "90d": 90 * 86400 };

export function expiry(value, attributes = {}) {
  const options = ["never", ...Object.keys(SPANS_S), "time"].map((name) => [name, t(`expires_${name}`)]);
  const choice = select(value === NEVER ? "never" : "time", options, attributes);
  const at = h("input", {
    type: "datetime-local",
    step: 1,
    value: value === NEVER ? "" : timeInput(value),
    "aria-label": t("expires_time"),
  });
  const before = at.value; // "" if it is beyond the years of this control
  const hint = h("p", { class: "hint" });
  const span = () => SPANS_S[choice.get()];
  let until; // it stays once it is asked for, so that what is sent again is the same
  const draw = () => {
    until = undefined;
    at.hidden = choice.get() !== "time";
    hint.textContent = span() ? t("expires_at", { time: dateTime(nowS() + span()) }) : "";
  };
  choice.input.addEventListener("change", draw);
  draw();
  const get = () => {
    if (choice.get() === "never") return NEVER;
    if (span()) return (until ??= nowS() + span());
    if (value !== NEVER && at.value === before) return value;
    const typed = parseTimeInput(at.value);
    if (typed === null || Number.isNaN(typed)) throw new ControlError(t("bad_time"));
    return typed;
  };
  return { node: [h("div", { class: "row" }, choice.node, at), hint], input: choice.input, get };
}

/* ---- a list with suggestions ---- */

const SUGGESTIONS_MAX = 200;

/* Typed, or chosen from buttons that add and remove a word. */
export function suggestedList(value, suggestions, attributes = {}) {
  const control = list(value, attributes);
  const shown = suggestions.slice(0, SUGGESTIONS_MAX);
  const toggle = (word) => {
    const words = control.get();
    const others = words.filter((other) => other !== word);
    control.input.value = (others.length < words.length ? others : [...words, word]).join("\n");
    draw();
  };
  const buttons = shown.map((word) => h("button", { type: "button", class: "suggestion", click: () => toggle(word) }, word));
  const draw = () => buttons.forEach((one, i) => (one.ariaPressed = String(control.get().includes(shown[i]))));
  control.input.addEventListener("input", draw);
  draw();
  const box = h("div", { class: "suggestions", role: "group", id: newId(), "aria-label": t("suggestions") }, buttons);
  return { ...control, node: [control.node, buttons.length > 0 && box] };
}
