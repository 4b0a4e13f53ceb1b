/* The page of tokens: one's own, or for administrators a user's. */

import { tokens, users } from "./api.js";
import { button, copy, iconButton, menu, switchButton } from "./buttons.js";
import { h, selectElement } from "./dom.js";
import { searchInput } from "./filters.js";
import { t } from "./language.js";
import { createList } from "./list.js";
import { session } from "./session.js";
import { toast } from "./toast.js";
import { copyMenu, keyCell } from "./token-key.js";
import { tokenColumns } from "./token-columns.js";
import { DISABLED, ENABLED, nameOf, STATUSES } from "./token-status.js";

/* What is needed on a click only. */
const dialog = () => import("./dialog.js");
const dialogs = () => import("./token-dialogs.js");
const csv = () => import("./csv.js");
const historyPages = () => import("./history.js");
const usageDialog = () => import("./usage.js");

/* params: of the address, owner (a user id) and the query; setParams: keeps the query in the address. */
export async function tokensPage(params, setParams) {
  const owner = /^\d+$/.test(params.owner) ? params.owner : undefined;
  const user = owner && (await users.get(owner));
  const list = createList({
    caption: t("nav_tokens"),
    columns: tokenColumns((token) => keyCell(token, owner), (token) => actionCell(token, list, owner)),
    attributes: (token) => ({ id: `token-${token.id}`, testid: "row", "data-token-id": token.id }),
    fetchPage: (query) => tokens.page(query, owner),
    query: readQuery(params),
    filters: createFilters(params, owner),
    tools: owner ? [] : [button(t("new_token"), () => create(list), { testid: "new-token", class: "primary", iconName: "plus" })],
    batch: (list) => batchButtons(list, owner),
    empty: owner ? [h("p", {}, t("no_tokens_of_user"))] : [h("h2", {}, t("no_tokens")), h("p", {}, t("no_tokens_hint"))],
    onQuery: ({ keyword, status, group, sort, order }) => setParams({ owner, keyword, status, group, sort, order }),
  });
  list.reload();
  return {
    title: owner ? t("tokens_of", { name: user.username }) : t("nav_tokens"),
    back: owner && "#users",
    node: list.node,
    reload: list.reload,
  };
}

const readQuery = ({ keyword = "", status = "", group = "", sort = "id", order = "desc" }) =>
  ({ keyword, token: "", status, group, sort, order });

function createFilters({ keyword = "", status = "", group = "" }, owner) {
  const statuses = [["", t("all_statuses")], ...Object.entries(STATUSES).map(([value, word]) => [value, t(`status_${word}`)])];
  const names = new Set([...Object.keys(session.groups), group].filter(Boolean));
  const groups = [["", t("all_groups")], ...[...names].map((name) => [name, name])];
  return [
    {
      label: t("search"),
      input: searchInput(keyword, t(owner ? "search_names" : "search_tokens")),
      members: (text) => (isKey(text) && !owner ? { keyword: "", token: text } : { keyword: text, token: "" }),
    },
    { name: "status", label: t("column_status"), input: selectElement(status, statuses, { testid: "filter-status" }) },
    { name: "group", label: t("field_group"), input: selectElement(group, groups, { testid: "filter-group" }) },
  ];
}

/* A key or its beginning is searched as one: it must get neither into the address nor into a log. */
const isKey = (text) => /^sk-/.test(text) || /^[0-9A-Za-z_]{40,}$/.test(text);

async function create(list) {
  const { createToken, showKeys } = await dialogs();
  const created = await createToken();
  if (!created) return;
  list.reload();
  await showKeys([created].flat());
}

/* ---- one row ---- */

function actionCell(token, list, owner) {
  const name = nameOf(token);
  const label = (word) => `${t(word)}: ${name}`;
  return h("div", { class: "action-row" },
    toggle(token, list, owner, label("toggle")),
    iconButton("edit", label("edit"), () => edit(token, list, owner), { testid: "edit" }),
    !owner && iconButton("rotate", label("rotate"), () => rotate(token, list), { testid: "rotate" }),
    iconButton("remove", label("delete"), () => remove([token], list, owner), { testid: "delete" }),
    menu(label("more"), () => [
      !owner && copyMenu(token),
      button(t("usage"), () => usage(token, name, owner), { testid: "usage", iconName: "chart" }),
      button(t("history"), () => history(token, name, owner), { testid: "history", iconName: "clock" }),
    ]),
  );
}

/* Expired and exhausted tokens are enabled: only their owner's "off" is off. */
function toggle(token, list, owner, label) {
  const isOn = token.status !== DISABLED;
  const flip = async () => {
    list.replace(await tokens.setStatus(token.id, isOn ? DISABLED : ENABLED, owner));
    toast(t(isOn ? "disabled_one" : "enabled_one", { name: nameOf(token) }));
  };
  return switchButton(label, isOn, flip, { testid: "toggle" });
}

async function edit(token, list, owner) {
  const { editToken } = await dialogs();
  const changed = await editToken(token, owner);
  if (changed) list.replace(changed);
  else if (changed === null) await list.reload();
}

async function rotate(token, list) {
  const { rotateToken, showNewKey } = await dialogs();
  const rotated = await rotateToken(token);
  if (!rotated) return;
  list.replace(rotated);
  await showNewKey(rotated);
}

async function usage(token, name, owner) {
  const { showUsage } = await usageDialog();
  await showUsage(name, (days) => tokens.usage(token.id, days, owner));
}

async function history(token, name, owner) {
  const { showHistory } = await historyPages();
  await showHistory(name, { token_id: token.id, user_id: owner });
}

async function remove(items, list, owner) {
  const { confirm } = await dialog();
  const ids = items.map(({ id }) => id);
  const done = await confirm({
    title: t("delete_title", { n: ids.length }),
    text: t("delete_text", { n: ids.length, names: names(items) }),
    label: t("delete"),
    work: () => (ids.length === 1 ? tokens.remove(ids[0], owner) : tokens.removeAll(ids, owner)),
  });
  if (!done) return;
  await list.reload();
  toast(t("deleted", { n: ids.length }));
}

const NAMES_MAX = 10;

function names(items) {
  const shown = items.slice(0, NAMES_MAX).map(({ id, name }) => (name ? `${name} (#${id})` : `#${id}`));
  const rest = items.length - shown.length;
  return shown.join(", ") + (rest > 0 ? ` ${t("and_more", { n: rest })}` : "");
}

/* ---- several rows ---- */

function batchButtons(list, owner) {
  return [
    !owner && button(t("copy_keys"), () => copyKeys(list.selectedItems()), { testid: "batch-copy" }),
    button(t("enable"), () => setStatuses(list, ENABLED, owner), { testid: "batch-enable" }),
    button(t("disable"), () => setStatuses(list, DISABLED, owner), { testid: "batch-disable" }),
    button(t("export_csv"), () => exportCsv(list.selectedItems()), { testid: "batch-export" }),
    button(t("delete"), () => remove(list.selectedItems(), list, owner), { testid: "batch-delete", class: "danger" }),
  ].filter(Boolean);
}

async function exportCsv(items) {
  const { saveCsv } = await csv();
  saveCsv("tokens.csv", items);
}

async function copyKeys(items) {
  const keys = await tokens.keys(items.map(({ id }) => id));
  await copy(items.map(({ id }) => keys[id]).filter(Boolean).join("\n"), t("copied_keys", { n: items.length }));
}

async function setStatuses(list, status, owner) {
  const { data, refused } = await tokens.setStatuses(list.selectedItems().map(({ id }) => id), status, owner);
  await list.reload();
  const done = t(status === ENABLED ? "enabled_n" : "disabled_n", { n: data });
  toast(refused.length > 0 ? `${done} ${t("refused_n", { n: refused.length })}` : done, { isError: refused.length > 0 });
}
