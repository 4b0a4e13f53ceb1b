/* The fields of the dialogs that create and edit a token, for form.js. A new field is one entry here, and
 * its label in words.js. */

import { expiry, list, quotaAmount, quotaOrUnlimited, quotaPatch, select, suggestedList, text } from "./controls.js";
import { numberField } from "./form.js";
import { NEVER } from "./format.js";
import { t } from "./language.js";
import { session } from "./session.js";

/* What the dialog for a new token begins with. */
export const NEW_TOKEN = {
  name: "",
  remain_quota: null,
  unlimited_quota: false,
  expired_time: NEVER,
  model_limits: "",
  allow_ips: "",
  group: "",
  rpm_limit: 0,
  tpm_limit: 0,
  max_parallel_requests: 0,
  refill_amount: 0,
  refill_interval: "none",
  refill_day: 1,
};

const split = (commas) => commas.split(",").filter(Boolean);

export const mainFields = [
  {
    name: "name",
    isHalf: true,
    control: (token) => text(token.name, { testid: "field-name", autofocus: true, maxlength: 255 }),
    patch: (name) => ({ name }),
  },
  {
    name: "quota",
    control: ({ remain_quota: units, unlimited_quota: isUnlimited }) => {
      const otherwise = units === null ? newQuota() : undefined;
      return quotaOrUnlimited({ units, isUnlimited, otherwise }, { testid: "field-quota" });
    },
    patch: (value, token) => quotaPatch(value, token, "remain_quota"),
  },
  {
    name: "expires",
    isHalf: true,
    control: (token) => expiry(token.expired_time, { testid: "field-expires" }),
    patch: (expired_time) => ({ expired_time }),
  },
  {
    name: "group",
    isHalf: true,
    control: (token) => select(token.group, groupOptions(token.group), { testid: "field-group" }),
    patch: (group) => ({ group }),
  },
  {
    name: "models",
    control: (token) => suggestedList(split(token.model_limits), session.models, { testid: "field-models" }),
    patch: (models) => ({ model_limits: models, model_limits_enabled: models.length > 0 }),
  },
  {
    name: "ips",
    control: (token) => list(split(token.allow_ips), { testid: "field-ips" }),
    patch: (addresses) => ({ allow_ips: addresses.join(",") }),
  },
];

export const limitFields = [
  numberField("rpm_limit", { max: 1_000_000 }),
  numberField("tpm_limit", { max: 1e15 }),
  numberField("max_parallel_requests", { max: 1000 }),
  {
    name: "refill_interval",
    unset: "none",
    isHalf: true,
    control: (token) => select(token.refill_interval, intervals(), { testid: "field-refill_interval" }),
    patch: (refill_interval) => ({ refill_interval }),
  },
  {
    name: "refill_amount",
    unset: 0,
    isHalf: true,
    control: (token) => quotaAmount(token.refill_amount, { testid: "field-refill_amount" }),
    patch: (refill_amount) => ({ refill_amount }),
  },
  numberField("refill_day", { min: 1, max: 31, unset: 1 }),
];

const intervals = () => ["none", "day", "week", "month"].map((interval) => [interval, t(`refill_${interval}`)]);

/* The quota of a new token if none is typed: as in One API, one unit of money. */
export const newQuota = () => session.site.quota_per_unit;

/* The groups that the person may use, and the token's, which may be none of them. */
function groupOptions(present) {
  const names = new Set([...Object.keys(session.groups), present].filter(Boolean));
  const label = (name) => [name, session.groups[name]?.desc].filter(Boolean).join(" · ");
  return [["", t("own_group")], ...[...names].map((name) => [name, label(name)])];
}
