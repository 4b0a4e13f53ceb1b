/* The page of one's own account. */

import { self } from "./api.js";
import { button } from "./buttons.js";
import { quotaBar } from "./cells.js";
import { confirm } from "./dialog.js";
import { h } from "./dom.js";
import { number, quota } from "./format.js";
import { errorText, t } from "./language.js";
import { showSecrets } from "./secret.js";
import { session, signIn } from "./session.js";
import { usage } from "./usage.js";

export async function accountPage() {
  const user = (session.self = await self.get());
  const bars = h("div", { class: "stack", "aria-live": "polite" }, h("p", { class: "loading" }, t("loading")));
  const node = h("div", { class: "cards" },
    card(t("balance"), balance(user)),
    card(t("facts"), facts(user)),
    card(t("access_token"), h("p", {}, t("access_token_hint")), button(t("new_access_token"), rotate, { testid: "rotate-self" })),
    h("section", { class: "card wide" }, h("h2", {}, t("usage")), bars));
  usage(self.usage).then((nodes) => bars.replaceChildren(...[nodes].flat()), (error) => bars.replaceChildren(errorText(error)));
  return { title: t("nav_account"), node };
}

const card = (title, ...nodes) => h("section", { class: "card" }, h("h2", {}, title), nodes);

function balance({ unlimited_quota, quota: left, used_quota, request_count }) {
  const all = BigInt(left) + BigInt(used_quota);
  return [
    h("p", { class: "big", testid: "balance" }, unlimited_quota ? t("unlimited") : quota(left)),
    unlimited_quota ? h("p", {}, t("used", { quota: quota(used_quota) })) : quotaBar(BigInt(used_quota), all),
    h("p", { class: "muted" }, t("requests_n", { n: number(request_count) })),
  ];
}

function facts({ id, username, group, role, token_count, token_limit }) {
  const limit = token_limit > 0 ? t("n_of_limit", { n: number(token_count), limit: number(token_limit) }) : number(token_count);
  const rows = { username: `${username} (#${id})`, group, role: t(`role_${role}`), tokens: limit };
  return h("dl", {}, Object.entries(rows).map(([name, value]) => [h("dt", {}, t(`fact_${name}`)), h("dd", {}, value)]));
}

async function rotate() {
  const { id } = session.self;
  const answer = await confirm({
    title: t("new_access_token"),
    text: t("new_access_token_text"),
    label: t("new_access_token"),
    work: self.rotate,
  });
  if (!answer) return;
  if (session.self?.id === id) signIn(String(id), answer.access_token); // not signed out meanwhile
  const secrets = [{ secret: answer.access_token }];
  await showSecrets({ title: t("new_access_token"), text: t("secret_once"), secrets, isOnce: true });
}
