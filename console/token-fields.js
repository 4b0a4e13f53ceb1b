/* The fields of the dialogs that create and edit a token, for form.js. A new field is one entry here, and
 * its label in words.js. */

import { expiry, integer, list, quotaAmount, quotaOrUnlimited, select, suggestedList, text } from "./controls.js";
import { NEVER } from "./format.js";
import { t } from "./language.js";
import { session } from "./session.js";

/* What the dialog for a new token begins with; remain_quota null: to be filled in. */
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

const number = (name, min, max) => ({
  name,
  control: (token) => integer(token[name], { min, max, testid: `field-${name}` }),
  patch: (value) => ({ [name]: value }),
});

export const mainFields = [
  {
    name: "name",
    control: (token) => text(token.name, { testid: "field-name", autofocus: true, maxlength: 255 }),
    patch: (name) => ({ name }),
  },
  {
    name: "quota",
    control: (token) =>
      quotaOrUnlimited(
        { units: token.remain_quota, isUnlimited: token.unlimited_quota },
        { testid: "field-quota" },
      ),
    patch: quotaPatch,
  },
  {
    name: "expires",
    control: (token) => expiry(token.expired_time, { testid: "field-expires" }),
    patch: (expired_time) => ({ expired_time }),
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
  {
    name: "group",
    control: (token) => select(token.group, groupOptions(token.group), { testid: "field-group" }),
    patch: (group) => ({ group }),
  },
];

export const limitFields = [
  number("rpm_limit", 0, 1_000_000),
  number("tpm_limit", 0, 1e15),
  number("max_parallel_requests", 0, 1000),
  {
    name: "refill_interval",
    control: (token) =>
      select(
        token.refill_interval,
        ["none", "day", "week", "month"].map((interval) => [interval, t(`refill_${interval}`)]),
        { testid: "field-refill_interval" },
      ),
    patch: (refill_interval) => ({ refill_interval }),
  },
  {
    name: "refill_amount",
    control: (token) => quotaAmount(token.refill_amount, { testid: "field-refill_amount" }),
    patch: (refill_amount) => ({ refill_amount }),
  },
  number("refill_day", 1, 31),
];

export const hasLimits = (token) => limitFields.some(({ name }) => token[name] !== NEW_TOKEN[name]);

/* A present token's quota is sent as a difference: what is spent while the dialog is open is never given
 * back. */
function quotaPatch({ units, isUnlimited }, token) {
  const patch = isUnlimited === token.unlimited_quota ? {} : { unlimited_quota: isUnlimited };
  if (isUnlimited) return patch;
  if (token.remain_quota === null) return { ...patch, remain_quota: units };
  const added = units - BigInt(token.remain_quota);
  return added === 0n ? patch : { ...patch, add_quota: added };
}

/* The groups that the person may use, and the token's, which may be none of them. */
function groupOptions(present) {
  const names = new Set([...Object.keys(session.groups), present].filter(Boolean));
  const label = (name) => [name, session.groups[name]?.desc].filter(Boolean).join(" · ");
  return [["", t("own_group")], ...[...names].map((name) => [name, label(name)])];
}
