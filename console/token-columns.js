/* The columns of the list of tokens, for table.js. A new column is one entry here, and its heading in
 * words.js. */

import { chip, lines, muted, quotaBar } from "./cells.js";
import { h } from "./dom.js";
import { number, quota, timeOrNever, time } from "./format.js";
import { t } from "./language.js";
import { chips, total } from "./token-status.js";

const SHOWN_MAX = 2; // of a list

/* keyCell and actionCell make the cells with buttons: (token) -> nodes. */
export const tokenColumns = (keyCell, actionCell) => [
  {
    name: "name",
    sort: "name",
    cell: (token) => lines(token.name || muted(t("no_name")), [`#${token.id}`, token.group].filter(Boolean).join(" · ")),
  },
  { name: "status", cell: (token) => chips(token).map(chip) },
  { name: "key", cell: keyCell },
  { name: "quota", sort: "remain_quota", cell: quotaCell },
  { name: "limits", cell: limitsCell },
  { name: "expires", sort: "expired_time", cell: (token) => timeOrNever(token.expired_time) },
  { name: "last_used", sort: "accessed_time", cell: lastUsedCell },
  { name: "actions", cell: actionCell },
];

function quotaCell(token) {
  if (token.unlimited_quota) return lines(t("unlimited"), t("used", { quota: quota(token.used_quota) }));
  return quotaBar(total(token) - BigInt(token.remain_quota), total(token));
}

/* A token that was never used has the time of its creation. */
function lastUsedCell({ accessed_time, created_time, used_quota }) {
  return accessed_time === created_time && !used_quota ? muted(t("never")) : time(accessed_time);
}

function limitsCell(token) {
  const rows = [modelsLine(token), addressesLine(token), rateLine(token), refillLine(token)].filter(Boolean);
  return rows.length > 0 ? rows.map((row) => h("div", {}, row)) : muted(t("none"));
}

function modelsLine({ model_limits, model_limits_enabled }) {
  if (!model_limits_enabled) return null;
  return model_limits ? shortList(model_limits) : t("no_models");
}

const addressesLine = ({ allow_ips }) => allow_ips && shortList(allow_ips);

function shortList(commas) {
  const words = commas.split(",");
  const rest = words.length - SHOWN_MAX;
  const text = words.slice(0, SHOWN_MAX).join(", ");
  return h("span", { title: words.join(", ") }, rest > 0 ? `${text} ${t("and_more", { n: rest })}` : text);
}

function rateLine(token) {
  return ["rpm_limit", "tpm_limit", "max_parallel_requests"]
    .filter((name) => token[name] > 0)
    .map((name) => t(`value_${name}`, { n: number(token[name]) }))
    .join(" · ");
}

const refillLine = ({ refill_interval, refill_amount }) =>
  refill_interval && refill_interval !== "none" && t(`refills_${refill_interval}`, { quota: quota(refill_amount) });
