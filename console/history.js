/* The record of changes (audit): of one token in a dialog, one's own and that of all users as pages. */

import { self, users } from "./api.js";
import { failedState, lines, muted, state } from "./cells.js";
import { button } from "./buttons.js";
import { openDialog } from "./dialog.js";
import { h, keepFocus, selectElement } from "./dom.js";
import { filterNode } from "./filters.js";
import { dateTime, time } from "./format.js";
import { has, t } from "./language.js";
import { createTable } from "./table.js";

const PAGE_SIZE = 50;

const ACTIONS = [
  "token.*", "token.create", "token.update", "token.status", "token.delete", "token.rotate", "token.reveal",
  "user.*", "user.create", "user.update", "user.disable", "user.enable", "user.delete", "user.rotate",
  "group.*", "model.*", "gateway.*", "import", "secret.rotate",
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
  return Object.entries(changes).map(([name, change]) => h("div", { class: "change" }, muted(name, " "), changeTexts(change)));
}

/* [before, after], of which null is nothing; or another value as it is. */
function changeTexts(change) {
  if (!Array.isArray(change) || change.length !== 2) return [show(change)];
  const [before, after] = change;
  return [before !== null && h("del", {}, show(before)), " ", after !== null && h("ins", {}, show(after))];
}

const show = (value) => (value === "" ? "“”" : [value].flat().join(", "));

/* ---- a list that grows downwards ---- */

/* fetchPage: ({before, size, ...query}) -> {items, next}; returns node and change(query). */
function createLog(fetchPage, caption, shownColumns = columns) {
  const place = h("div", { class: "place", "aria-live": "polite", tabindex: -1 });
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
    const table = () => createTable({ caption, columns: shownColumns, objects: records, attributes }).node;
    keepFocus(() => {
      more.hidden = next === null;
      place.replaceChildren(records.length > 0 ? table() : state("empty", h("p", {}, t("no_history"))));
    }, place);
  }

  async function change(members) {
    query = { ...query, ...members };
    records = [];
    next = null;
    const number = asked + 1;
    try {
      await load();
    } catch (error) {
      if (number !== asked) return;
      more.hidden = true;
      place.replaceChildren(failedState(error, () => change({})));
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
