/* The page of users, for administrators. */

import { tokens, users } from "./api.js";
import { button, iconButton, menu, switchButton } from "./buttons.js";
import { chip, lines, muted, quotaBar } from "./cells.js";
import { rebase, text } from "./controls.js";
import { confirm, openDialog } from "./dialog.js";
import { h } from "./dom.js";
import { searchInput } from "./filters.js";
import { createForm, editDialog, foldedForm } from "./form.js";
import { number, quota } from "./format.js";
import { icon } from "./icons.js";
import { t } from "./language.js";
import { createList } from "./list.js";
import { showSecrets } from "./secret.js";
import { isRoot, session, signIn } from "./session.js";
import { toast } from "./toast.js";
import { ENABLED, STATUSES } from "./token-status.js";
import { limitFields, mainFields, NEW_USER, roleField } from "./user-fields.js";

export async function usersPage(params, setParams) {
  const { keyword = "", group = "" } = params;
  const list = createList({
    caption: t("nav_users"),
    columns: columns((user) => actionCell(user, list)),
    attributes: (user) => ({ id: `user-${user.id}`, testid: "user-row", "data-user-id": user.id }),
    fetchPage: users.page,
    query: { keyword, group },
    filters: [
      { name: "keyword", label: t("search"), input: searchInput(keyword, t("search_users")) },
      { name: "group", label: t("field_group"), input: groupInput(group) },
    ],
    tools: [
      button(t("find_key"), findKey, { testid: "find-key", iconName: "key" }),
      button(t("new_user"), () => create(list), { testid: "new-user", class: "primary", iconName: "plus" }),
    ],
    empty: h("p", {}, t("no_users")),
    onQuery: ({ keyword: word, group: name }) => setParams({ keyword: word, group: name }),
  });
  list.reload();
  return { title: t("nav_users"), node: list.node, reload: list.reload };
}

const groupInput = (value) =>
  h("input", { type: "search", class: "short", value, placeholder: t("field_group"), testid: "filter-group" });

const columns = (actions) => [
  { name: "username", cell: (user) => lines(user.username, `#${user.id}`) },
  { name: "group", cell: (user) => user.group },
  { name: "role", cell: (user) => t(`role_${user.role}`) },
  { name: "status", cell: (user) => chip(user.status === ENABLED ? "enabled" : "disabled") },
  { name: "balance", cell: balanceCell },
  { name: "requests", cell: (user) => number(user.request_count) },
  { name: "limits", cell: limitsCell },
  { name: "actions", cell: actions },
];

function balanceCell({ unlimited_quota, quota: left, used_quota }) {
  if (unlimited_quota) return lines(t("unlimited"), t("used", { quota: quota(used_quota) }));
  return quotaBar(BigInt(used_quota), BigInt(left) + BigInt(used_quota));
}

function limitsCell(user) {
  const limits = limitFields.map(({ name }) => name).filter((name) => user[name] > 0);
  return limits.length > 0 ? limits.map((name) => h("div", {}, t(`value_${name}`, { n: number(user[name]) }))) : muted(t("none"));
}

/* ---- one user ---- */

/* What an administrator may not do to oneself or to peers, the service refuses, and says so. */
function actionCell(user, list) {
  const label = (word) => `${t(word)}: ${user.username}`;
  const isOn = user.status === ENABLED;
  const done = t(isOn ? "disabled_one" : "enabled_one", { name: user.username });
  const flip = () => manage(user, isOn ? "disable" : "enable", list, done);
  const tokensLabel = label("nav_tokens");
  const link = {
    class: "icon-button", href: `#tokens?owner=${user.id}`, testid: "user-tokens", "aria-label": tokensLabel, title: tokensLabel,
  };
  return h("div", { class: "action-row" },
    switchButton(label("toggle"), isOn, flip, { testid: "user-toggle" }),
    h("a", link, icon("list")),
    iconButton("edit", label("edit"), () => edit(user, list), { testid: "user-edit" }),
    iconButton("remove", label("delete"), () => remove(user, list), { testid: "user-delete" }),
    menu(label("more"), () => [
      button(t("void_access_token"), () => rotate(user, list), { testid: "user-rotate", iconName: "rotate" }),
      isRoot() && roleButton(user, list),
      h("a", { class: "button", href: `#audit?user_id=${user.id}`, testid: "user-audit" }, icon("clock"), t("history")),
    ]),
  );
}

const roleButton = (user, list) =>
  button(t(user.role >= 10 ? "demote" : "promote"), () => setRole(user, list), { testid: "user-role", iconName: "key" });

async function manage(user, action, list, message) {
  const answer = await users.manage(user.id, action);
  await list.reload();
  toast(message);
  return answer;
}

const userForm = (fields, user) => foldedForm(fields, t("limits"), limitFields, user);

async function create(list) {
  const form = userForm([...mainFields, roleField], NEW_USER);
  const created = await openDialog({
    title: t("new_user"),
    body: form.nodes,
    submit: { label: t("create"), work: () => users.create({ group: NEW_USER.group, ...form.read() }) },
  });
  if (!created) return;
  const secrets = [{ name: t("user_n", { id: created.id }), secret: created.access_token }];
  list.reload();
  toast(t("user_created"));
  await showSecrets({ title: t("new_access_token"), text: t("secret_once"), secrets, isOnce: true });
}

async function edit(shown, list) {
  const user = { ...shown };
  const title = t("edit_title", { name: user.username });
  const look = async () => rebase(user, "quota", await users.get(user.id));
  await editDialog(title, userForm(mainFields, user), (patch) => users.update({ id: user.id, ...patch }), look);
  await list.reload();
}

async function remove(user, list) {
  const done = await confirm({
    title: t("delete_user_title"),
    text: t("delete_user_text", { name: user.username, id: user.id }),
    label: t("delete"),
    work: () => users.remove(user.id),
  });
  if (!done) return;
  await list.reload();
  toast(t("deleted_user", { name: user.username }));
}

async function setRole(user, list) {
  const isPromotion = user.role < 10;
  const word = isPromotion ? "promote" : "demote";
  await confirm({
    title: t(`${word}_title`, { name: user.username }),
    text: t(`${word}_text`),
    label: t(word),
    work: () => manage(user, word, list, t("saved")),
  });
}

/* Only root is told the new access token. */
async function rotate(user) {
  const answer = await confirm({
    title: t("void_title", { name: user.username }),
    text: t(isRoot() ? "void_text_root" : "void_text"),
    label: t("void_access_token"),
    work: () => users.manage(user.id, "rotate"),
  });
  if (!answer) return;
  if (!answer.access_token) return toast(t("voided", { name: user.username }));
  if (user.id === session.self?.id) signIn(String(user.id), answer.access_token);
  const secrets = [{ name: user.username, secret: answer.access_token }];
  await showSecrets({ title: t("new_access_token"), text: t("secret_once"), secrets, isOnce: true });
}

/* ---- whose key is it? ---- */

async function findKey() {
  const result = h("div", { "aria-live": "polite", testid: "found" });
  const control = () => text("", { testid: "field-key", autofocus: true, class: "mono" });
  const field = { name: "key", control, patch: (key) => ({ key }) };
  const form = createForm([field], {});
  const work = async () => {
    result.replaceChildren();
    const found = await tokens.find(form.read().key ?? "");
    result.replaceChildren(...foundNodes(found));
    return false;
  };
  await openDialog({ title: t("find_key"), body: [form.nodes, result], submit: { label: t("find"), work } });
}

function foundNodes({ user_id: user, token_id: token, name, status }) {
  const link = h("a", { href: `#tokens?owner=${user}`, click: () => link.closest("dialog").close() }, t("user_n", { id: user }));
  return [
    h("p", {}, h("b", {}, name || t("no_name")), ` (#${token}) `, chip(STATUSES[status])),
    h("p", {}, t("belongs_to"), " ", link),
  ];
}
