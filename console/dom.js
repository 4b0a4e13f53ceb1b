/* Elements. Texts become text nodes and attributes, never markup. */

const PROPERTIES = new Set(["value", "checked"]); // as attributes they would only be defaults

/* An element with attributes and children. A function is the listener of the event of that name;
 * false and null leave an attribute or a child out. */
export function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) setAttribute(node, name, value);
  node.append(...children.flat(Infinity).filter(isChild));
  return node;
}

const isChild = (child) => child !== null && child !== undefined && child !== false && child !== "";

function setAttribute(node, name, value) {
  if (value === null || value === undefined || value === false) return;
  if (typeof value === "function") node.addEventListener(name, value);
  else if (PROPERTIES.has(name)) node[name] = value;
  else node.setAttribute(name === "testid" ? "data-testid" : name, value === true ? "" : value);
}

/* A <select>; options: [value, label] pairs. */
export function selectElement(value, options, attributes = {}) {
  const nodes = options.map(([name, label]) => h("option", { value: name }, label));
  const node = h("select", attributes, nodes);
  node.value = value;
  return node;
}

/* An element for scripts only: its ids are unique on the page. */
let idCount = 0;
export const newId = () => `id${++idCount}`;

/* Runs work for a button, which stays enabled, so that it keeps the focus; a second click while it
 * runs does nothing. onError gets what fails. */
export async function runBusy(button, work, onError) {
  if (button.ariaBusy === "true") return;
  button.ariaBusy = "true";
  try {
    await work();
  } catch (error) {
    onError(error);
  } finally {
    button.ariaBusy = null;
  }
}

/* Draws anew and gives the focus to the control in the place of the one that had it. */
export function keepFocus(draw, fallback) {
  const restore = rememberFocus();
  draw();
  restore(fallback);
}

/* Returns what gives the focus back to the control in the place of the one that has it now: the same
 * data-testid, in the same row. If that is gone, the fallback gets it. */
export function rememberFocus() {
  const focused = document.activeElement;
  const selector = selectorOf(focused);
  return (fallback) => {
    if (!focused || (document.activeElement === focused && !focused.hidden)) return;
    (document.querySelector(selector) ?? fallback)?.focus();
  };
}

function selectorOf(element) {
  const control = element?.closest("[data-testid]");
  const row = element?.closest("tr[id]");
  return control ? `${row ? `#${row.id} ` : ""}[data-testid="${control.dataset.testid}"]:not([hidden])` : "none";
}

export function closeDialogs() {
  for (const dialog of document.querySelectorAll("dialog:not([data-stays])")) dialog.close();
}
