/* The record of changes (audit): of one token in a dialog, one's own and that of all users as pages. */

import { self, users } from "./api.js";
import { lines, muted } from "./cells.js";
import { button } from "./buttons.js";
import { openDialog } from "./dialog.js";
import { h, keepFocus, selectElement } from "./dom.js";
import { filterNode } from "./filters.js";
import { dateTime, time } from "./format.js";
import { has, errorText, t } from "./language.js";
import { createTable } from "./table.js";

const PAGE_SIZE = 50;

const ACTIONS = [
  "token.*", "token.create", "token.update", "token.status", "token.delete", "token.rotate", "token.reveal",
  "user.*", "user.create", "user.update", "user.disable", "user.enable", "user.delete", "user.rotate",
  "group.*", "gateway.*", "import", "secret.rotate",
];

const columns = [
  { name: "time", cell: (record) => lines(dateTime(record.time), time(record.time)) },
  { name: "action", cell: ({ action }) => actionName(action) },
  { name: "actor", cell: ({ actor }) => [t(`actor_${actor.kind}`), actor.id ? ` #${actor.id}` : ""] },
  { name: "subject", cell: subject },
  { name: "changes", cell: ({ changes }) => changeLines(changes ?? {}) },
  { name: "address", cell: ({ address, request_id: id }) => lines(address || muted("–"), h("span", { title: id }, id)) },
];

const actionName = (action) => (has(`action_${action}`) ? t(`action_${action}`) : action);

function subject({ user_id: user, token_id: token }) {
  const parts = [user && t("user_n", { id: user }), token && t("token_n", { id: token })].filter(Boolean);
  return parts.length > 0 ? parts.join(" · ") : muted("–");
}

function changeLines(changes) {
  return Object.entries(changes).map(([name, change]) => h("div", { class: "change" }, muted(name, " "), ...changeTexts(change)));
}

/* [before, after], or another value as it is. */
function changeTexts(change) {
  if (!Array.isArray(change) || change.length !== 2) return [show(change)];
  return [change[0] !== null && [h("del", {}, show(change[0])), " "], h("ins", {}, show(change[1]))].filter(Boolean).flat();
}

const show = (value) =>
  value === "" ? "“”" : Array.isArray(value) ? value.map(String).join(", ") : value === null ? "–" : String(value);

/* ---- a list that grows downwards ---- */

/* fetchPage: ({before, size, ...query}) -> {items, next}; returns node and change(query). */
function createLog(fetchPage, caption, shownColumns = columns) {
  const place = h("div", { class: "place", "aria-live": "polite" });
  const more = button(t("older"), () => load(), { testid: "older" });
  const node = h("section", {}, place, h("div", { class: "pager" }, more));
  let query = {};
  let records = [];
  let next = null;
  let asked = 0;

  async function load() {
    const number = ++asked;
    const page = await fetchPage({ ...query, before: next, size: PAGE_SIZE });
    if (number !== asked) return;
    next = page.next;
    records = [...records, ...page.items];
    draw();
  }

  function draw() {
    const attributes = ({ id }) => ({ id: `record-${id}`, testid: "record" });
    const empty = h("div", { class: "state", testid: "empty" }, h("p", {}, t("no_history")));
    const table = records.length > 0 ? createTable({ caption, columns: shownColumns, objects: records, attributes }).node : empty;
    more.hidden = next === null;
    keepFocus(() => place.replaceChildren(table), place);
  }

  async function change(members) {
    query = { ...query, ...members };
    records = [];
    next = null;
    try {
      await load();
    } catch (error) {
      more.hidden = true;
      const retry = button(t("try_again"), () => change({}), { testid: "retry" });
      place.replaceChildren(h("div", { class: "state", role: "alert", testid: "failed" }, h("p", {}, errorText(error)), retry));
    }
  }

  return { node, change };
}

/* query: token_id, and user_id for administrators. */
export async function showHistory(name, query) {
  const others = columns.filter(({ name }) => name !== "subject"); // it is this one
  const log = createLog(query.user_id ? users.log : self.log, t("history"), others);
  await log.change(query);
  await openDialog({ title: t("history_of", { name }), body: log.node, isWide: true });
}

/* ---- pages ---- */

export const historyPage = (params, setParams) =>
  logPage({ title: t("nav_history"), fetchPage: self.log, names: ["token_id"], params, setParams });

export const auditPage = (params, setParams) =>
  logPage({ title: t("nav_audit"), fetchPage: users.log, names: ["user_id", "token_id", "actor"], params, setParams });

async function logPage({ title, fetchPage, names, params, setParams }) {
  const log = createLog(fetchPage, title);
  const actions = [["", t("all_actions")], ...ACTIONS.map((action) => [action, actionName(action)])];
  const action = selectElement(params.action ?? "", actions, { testid: "filter-action" });
  const filters = [
    { name: "action", label: t("column_action"), input: action },
    ...names.map((name) => ({ name, label: t(`filter_${name}`), input: idInput(name, params[name] ?? "") })),
  ];
  const change = (members) => {
    Object.assign(params, members);
    setParams(params);
    return log.change(members);
  };
  const bar = h("div", { class: "toolbar" }, filters.map((filter) => filterNode(filter, { change })));
  log.change(Object.fromEntries(filters.map(({ name, input }) => [name, input.value])));
  return { title, node: h("div", {}, bar, log.node), reload: () => log.change({}) };
}

const idInput = (name, value) =>
  h("input", {
    type: "search", inputmode: "numeric", class: "short", testid: `filter-${name}`, value,
    placeholder: t(`filter_${name}`),
  });
