/* What stands above a list: filters and the order. A filter is
 *
 *   label     its name, for who can't see it
 *   input     an <input> or <select>, whose value "" means no filter
 *   members   (value) -> the members of the list's query; default: {[name]: value} */

import { iconButton } from "./buttons.js";
import { h, selectElement } from "./dom.js";
import { t } from "./language.js";

const TYPING_MS = 250; // a question follows when the typing pauses

const members = ({ name, members: own }, value) => (own ? own(value) : { [name]: value });

export const isUnused = ({ input }) => input.value === "";

export function filterNode(filter, list) {
  const { input } = filter;
  let asked = input.value;
  let timer;
  const ask = () => {
    clearTimeout(timer);
    if (input.value === asked) return;
    asked = input.value;
    list.change(members(filter, asked.trim()));
  };
  input.ariaLabel = filter.label;
  input.addEventListener("change", ask);
  input.addEventListener("keydown", (event) => event.key === "Enter" && ask());
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(ask, TYPING_MS);
  });
  filter.clear = () => {
    input.value = asked = "";
  };
  return input;
}

/* Empties all; returns the members of a query without filters. */
export function clear(filters) {
  for (const filter of filters) filter.clear();
  return Object.assign({}, ...filters.map((filter) => members(filter, "")));
}

/* "/" on the page gives it the focus. */
export const searchInput = (value, placeholder) =>
  h("input", { type: "search", testid: "search", value, placeholder, autocomplete: "off", spellcheck: "false" });

/* ---- the order ---- */

const SORTS = ["id", "name", "created_time", "expired_time", "accessed_time", "remain_quota", "used_quota"];

/* A control that chooses it; state(query) is what table.js needs. */
export function createSorter(list) {
  const options = SORTS.map((name) => [name, t(`sort_${name}`)]);
  const by = selectElement(list.query.sort, options, { testid: "sort", "aria-label": t("sort_by") });
  by.addEventListener("change", () => list.change({ sort: by.value }));
  const flip = () => list.change({ order: list.query.order === "asc" ? "desc" : "asc" });
  const order = iconButton("order", t("flip_order"), flip, { testid: "order" });
  return {
    node: h("span", { class: "sorter" }, by, order),
    show(query) {
      by.value = query.sort;
      order.classList.toggle("ascending", query.order === "asc");
    },
    state: ({ sort, order: way }) => ({
      by: sort,
      isAscending: way === "asc",
      change: (name) => (name === sort ? flip() : list.change({ sort: name, order: "asc" })),
    }),
  };
}
