/* A table of objects. A column is
 *
 *   name   the word of its heading is `column_NAME`
 *   cell   (object) -> the nodes of its cell
 *   sort   the API's name to sort by; absent: it is not sorted by
 *
 * On a narrow page the cells stand below each other, each with its heading (style.css); the roles keep it
 * a table for screen readers then. */

import { h } from "./dom.js";
import { t } from "./language.js";

const CHUNK = 20; // rows a frame, so that no frame takes long

/* attributes: (object) -> attributes of its row, with an id. sort: {by, isAscending, change(by)}, absent:
 * nothing is sorted; selection: createSelection's, absent: nothing is selected. */
export function createTable({ caption, columns, objects, attributes, sort, selection }) {
  const row = (object) =>
    h("tr", { role: "row", ...attributes(object) },
      selection && h("td", { role: "cell", class: "select" }, selection.box(object)),
      columns.map(({ name, cell }) =>
        h("td", { role: "cell", class: name, "data-label": t(`column_${name}`) }, cell(object))));

  const head = h("tr", { role: "row" },
    selection && h("th", { role: "columnheader", class: "select" }, selection.boxOfAll(objects)),
    columns.map((column) => heading(column, sort)));

  // At once where something would jump or lose the focus, and where there are no frames.
  const isAtOnce = scrollY > 0 || document.activeElement?.closest("tr") || document.hidden;
  const first = isAtOnce ? objects.length : CHUNK;
  const body = h("tbody", { role: "rowgroup" }, objects.slice(0, first).map(row));
  const node = h("table", { role: "table" },
    h("caption", { class: "offscreen" }, caption), h("thead", { role: "rowgroup" }, head), body);

  const rest = objects.slice(first);
  const drawMore = () => {
    body.append(...rest.splice(0, CHUNK).map(row));
    if (rest.length > 0 && node.isConnected) requestAnimationFrame(drawMore);
  };
  requestAnimationFrame(drawMore);

  /* Draws the row of one object anew. */
  const replace = (object) => node.querySelector(`#${attributes(object).id}`)?.replaceWith(row(object));

  return { node, replace };
}

function heading({ name, sort: by }, sort) {
  const label = t(`column_${name}`);
  const isSorted = sort && by && sort.by === by;
  const order = isSorted && (sort.isAscending ? "ascending" : "descending");
  const button = sort && by &&
    h("button", { type: "button", class: "sort", testid: `sort-${by}`, click: () => sort.change(by) }, label);
  const text = name === "actions" ? h("span", { class: "offscreen" }, label) : label;
  return h("th", { role: "columnheader", scope: "col", class: name, "aria-sort": order }, button || text);
}

/* The ids that are selected, by a box in each row and one for all. onChange is called with each change. */
export function createSelection(onChange) {
  const ids = new Set();
  let shown = new Set(); // the ids of the table, of which some rows may not be drawn yet
  let boxes = new Map(); // id -> box, of those that are
  let all;

  const set = (id, isSelected) => ids[isSelected ? "add" : "delete"](id);
  const draw = () => {
    drawAll();
    onChange();
  };
  const drawAll = () => {
    all.checked = ids.size > 0 && ids.size === shown.size;
    all.indeterminate = ids.size > 0 && !all.checked;
  };

  function box(object) {
    const change = (event) => {
      set(object.id, event.target.checked);
      draw();
    };
    const label = t("select_row", { name: object.name || object.username || `#${object.id}` });
    const node = h("input", {
      type: "checkbox", testid: "select-row", "aria-label": label, checked: ids.has(object.id), change,
    });
    boxes.set(object.id, node);
    return node;
  }

  /* Begins a new table: what is no longer shown is no longer selected. */
  function boxOfAll(objects) {
    shown = new Set(objects.map(({ id }) => id));
    boxes = new Map();
    for (const id of ids) if (!shown.has(id)) ids.delete(id);
    const change = () => {
      for (const id of shown) set(id, all.checked);
      for (const box of boxes.values()) box.checked = all.checked;
      draw();
    };
    all = h("input", { type: "checkbox", testid: "select-all", "aria-label": t("select_all"), change });
    drawAll();
    return all;
  }

  return { ids, box, boxOfAll };
}
