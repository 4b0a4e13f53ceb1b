/* Buttons that work on the API, and menus of them. */

import { h, newId, runBusy } from "./dom.js";
import { icon } from "./icons.js";
import { toast, toastError } from "./toast.js";
import { t } from "./language.js";

/* work(event) may be asynchronous; what it throws is told in a toast. */
const onClick = (work) => (event) => {
  const button = event.currentTarget;
  return runBusy(button, () => work(button), toastError);
};

export const button = (label, work, { iconName, ...attributes } = {}) =>
  h("button", { type: "button", click: onClick(work), ...attributes }, iconName && icon(iconName), label);

/* A button with an icon only; the label is its name and tooltip. */
export const iconButton = (iconName, label, work, attributes = {}) =>
  h(
    "button",
    { type: "button", class: "icon-button", "aria-label": label, title: label, click: onClick(work), ...attributes },
    icon(iconName),
  );

/* A switch that is on or off. */
export const switchButton = (label, isOn, work, attributes) =>
  h("button", {
    type: "button", class: "switch", role: "switch", "aria-checked": String(isOn),
    "aria-label": label, title: label, click: onClick(work), ...attributes,
  });

/* Buttons that open beside their opener; makeItems makes them then. Escape and a click elsewhere close it
 * (popover). */
export function menu(label, makeItems) {
  const opener = h(
    "button",
    { type: "button", class: "icon-button", "aria-label": label, title: label, "aria-haspopup": "true", testid: "more" },
    icon("more"),
  );
  const list = h("div", { class: "menu", popover: true, id: newId() });
  list.addEventListener("click", () => list.hidePopover(), true); // first, so that the opener has the focus
  opener.setAttribute("popovertarget", list.id);
  list.addEventListener("beforetoggle", (event) => {
    if (event.newState !== "open") return;
    list.replaceChildren(...[makeItems()].flat(Infinity).filter(Boolean));
    place(list, opener);
  });
  return [opener, list];
}

/* Right-aligned with the opener; above it where there is too little space below. */
function place(list, opener) {
  const { right, top, bottom } = opener.getBoundingClientRect();
  const isAbove = bottom > innerHeight * 0.6;
  list.style.right = `${document.documentElement.clientWidth - right}px`;
  list.style.top = isAbove ? "auto" : `${bottom + 4}px`;
  list.style.bottom = isAbove ? `${innerHeight - top + 4}px` : "auto";
}

/* ---- the clipboard ---- */

/* Copies and says so. Without TLS there is no navigator.clipboard; then the older way. */
export async function copy(text, what) {
  if (!(await write(text))) throw Object.assign(new Error(t("copy_failed")), { code: "clipboard" });
  toast(what ?? t("copied"));
}

async function write(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return writeBySelection(text);
  }
}

function writeBySelection(text) {
  const focused = document.activeElement;
  const area = h("textarea", { class: "offscreen", readonly: true, value: text, "aria-hidden": "true" });
  const home = [...document.querySelectorAll("dialog[open]")].at(-1) ?? document.body;
  home.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  focused?.focus();
  return done;
}
