/* A page's list: what is asked for (filters, order, page), the table, and its states: loading, empty,
 * nothing found, failed. */

import { button } from "./buttons.js";
import { failedState, state } from "./cells.js";
import { clear, createSorter, filterNode, isUnused } from "./filters.js";
import { h, keepFocus, selectElement } from "./dom.js";
import { number } from "./format.js";
import { t } from "./language.js";
import { choices, choose } from "./session.js";
import { createSelection, createTable } from "./table.js";

const PAGE_SIZES = [10, 20, 50, 100];

/*   fetchPage   (query) -> {items, total, page, page_size}
 *   query       the members that the first query has, beside p and size; with sort and order: it is sorted
 *   filters     filters.js
 *   batch       (list) -> buttons for what is selected; absent: nothing can be selected
 *   empty       nodes to show where nothing exists
 *   onQuery     called with each changed query
 *
 * Returns node, query, items; change(members) asks again with other members, reload() with the same;
 * replace(item) draws one anew; selectedItems(). */
export function createList(options) {
  const { caption, columns, attributes, fetchPage, query, filters, tools = [], batch, empty, onQuery } = options;
  const list = { query: { p: 1, size: choices.pageSize, ...query }, items: [], change, reload, replace };
  const total = h("p", { testid: "total", tabindex: -1 });
  const batchBar = h("div", { class: "batch" });
  const place = h("div", { class: "place", "aria-live": "polite" }, h("p", { class: "loading" }, t("loading")));
  const pager = createPager(list);
  const selection = batch && createSelection(drawBatch);
  let asked = 0;
  let table = null;

  const sorter = "sort" in query && createSorter(list);
  const bar = h("div", { class: "toolbar" }, filters.map((filter) => filterNode(filter, list)), sorter && sorter.node, tools);
  list.node = h("section", {}, bar, h("div", { class: "summary" }, total, batchBar), place, pager.node);
  list.selectedItems = () => list.items.filter(({ id }) => selection.ids.has(id));

  function change(members) {
    list.query = { ...list.query, p: 1, ...members };
    onQuery?.(list.query);
    return reload();
  }

  /* An answer that comes after a newer question is dropped. */
  async function reload() {
    const number = ++asked;
    place.ariaBusy = "true";
    try {
      const page = await fetchPage(list.query);
      if (number === asked) show(page);
    } catch (error) {
      if (number === asked) showFailure(error);
    } finally {
      if (number === asked) place.ariaBusy = null;
    }
  }

  function show(page) {
    const last = Math.max(1, Math.ceil(page.total / page.page_size));
    if (list.query.p > last) return change({ p: last }); // the last one of a page was deleted
    list.items = page.items;
    total.textContent = t("total", { n: page.total, shown: number(page.total) });
    pager.show(page);
    if (sorter) sorter.show(list.query);
    keepFocus(() => place.replaceChildren(page.items.length > 0 ? drawTable() : drawEmpty()), total);
    if (batch) drawBatch();
  }

  function drawTable() {
    const sort = sorter && sorter.state(list.query);
    table = createTable({ caption, columns, objects: list.items, attributes, sort, selection });
    return table.node;
  }

  function drawEmpty() {
    selection?.ids.clear();
    if (filters.every(isUnused)) return state("empty", empty);
    const again = button(t("clear_filters"), () => change(clear(filters)), { testid: "clear-filters" });
    return state("empty", h("p", {}, t("nothing_found")), again);
  }

  function showFailure(error) {
    total.textContent = "";
    batchBar.replaceChildren();
    pager.hide();
    keepFocus(() => place.replaceChildren(failedState(error, reload)), total);
  }

  function replace(item) {
    list.items = list.items.map((one) => (one.id === item.id ? item : one));
    keepFocus(() => table.replace(item), total);
  }

  function drawBatch() {
    const { size } = selection.ids;
    const nodes = size > 0 ? [h("b", {}, t("selected", { n: size })), ...batch(list)] : [];
    keepFocus(() => batchBar.replaceChildren(...nodes), total);
  }

  return list;
}

/* Buttons stay enabled at either end, so that they keep the focus. */
function createPager(list) {
  const go = (step) => {
    if (isThere(step)) return list.change({ p: list.query.p + step });
  };
  const isThere = (step) => list.query.p + step >= 1 && list.query.p + step <= last;
  const resize = (event) => {
    choose("pageSize", Number(event.target.value));
    list.change({ size: choices.pageSize });
  };
  const previous = button(t("previous"), () => go(-1), { testid: "page-previous" });
  const next = button(t("next"), () => go(1), { testid: "page-next" });
  const text = h("span", { testid: "page" });
  const size = selectElement(String(list.query.size), PAGE_SIZES.map((n) => [n, t("per_page", { n })]), {
    testid: "page-size", "aria-label": t("page_size"), change: resize,
  });
  const node = h("nav", { class: "pager", "aria-label": t("pages"), hidden: true }, size, text, previous, next);
  let last = 1;

  return {
    node,
    show({ total, page, page_size: pageSize, items }) {
      last = Math.max(1, Math.ceil(total / pageSize));
      const first = (page - 1) * pageSize + 1;
      text.textContent = t("range", { first: number(first), last: number(first + items.length - 1) });
      node.hidden = total === 0;
      previous.ariaDisabled = String(!isThere(-1));
      next.ariaDisabled = String(!isThere(1));
    },
    hide() {
      node.hidden = true;
    },
  };
}
