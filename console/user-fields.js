/* The fields of the dialogs that create and edit a user, for form.js. */

import { quotaOrUnlimited, quotaPatch, select, text } from "./controls.js";
import { numberField } from "./form.js";
import { isRoot } from "./session.js";
import { t } from "./language.js";

export const NEW_USER = {
  username: "",
  group: "default",
  role: 1,
  quota: null,
  unlimited_quota: true,
  rpm_limit: 0,
  tpm_limit: 0,
  max_tokens: 0,
};

export const mainFields = [
  {
    name: "username",
    control: (user) => text(user.username, { testid: "field-name", autofocus: true }),
    patch: (username) => ({ username }),
  },
  {
    name: "user_group",
    isHalf: true,
    control: (user) => text(user.group, { testid: "field-group" }),
    patch: (group) => ({ group }),
  },
  {
    name: "balance",
    control: (user) => quotaOrUnlimited({ units: user.quota, isUnlimited: user.unlimited_quota }, { testid: "field-quota" }),
    patch: (value, user) => quotaPatch(value, user, "quota"),
  },
];

/* Only root may create administrators; a present user is promoted by an action of its own. */
export const roleField = {
  name: "role",
  isHalf: true,
  control: (user) => select(String(user.role), roles(), { testid: "field-role" }),
  patch: (role) => ({ role: Number(role) }),
};

const roles = () => (isRoot() ? ["1", "10"] : ["1"]).map((role) => [role, t(`role_${role}`)]);

export const limitFields = [
  numberField("rpm_limit", { max: 1_000_000 }),
  numberField("tpm_limit", { max: 1e15 }),
  numberField("max_tokens", { max: 1e15, placeholder: "as_for_all" }),
];
