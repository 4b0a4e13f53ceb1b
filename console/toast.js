/* One short message at the bottom of the page. It goes by itself, unless it tells a failure. */

import { h } from "./dom.js";
import { icon } from "./icons.js";
import { errorText, t } from "./language.js";

const SHOWN_MS = 6000;

const text = h("span");
const close = h("button", { class: "icon-button", click: hide, focus: (event) => (before = event.relatedTarget) }, icon("close"));
const node = h("div", { class: "toast", role: "status", testid: "toast", hidden: true }, text, close);
let timer;
let before; // what had the focus

export function toast(message, { isError = false } = {}) {
  clearTimeout(timer);
  homeToast();
  text.textContent = message;
  close.ariaLabel = t("close");
  node.classList.toggle("error", isError);
  node.role = isError ? "alert" : "status";
  node.hidden = false;
  if (!isError) timer = setTimeout(hide, SHOWN_MS);
}

export const toastError = (error) => toast(errorText(error), { isError: true });

function hide() {
  if (node.contains(document.activeElement)) (before?.isConnected ? before : document.querySelector("main")).focus();
  node.hidden = true;
}

/* Moves it where it is seen and can be used: what is outside of an open modal dialog is inert. */
export function homeToast() {
  const home = [...document.querySelectorAll("dialog[open]")].at(-1) ?? document.body;
  if (node.parentNode !== home) home.append(node);
}
