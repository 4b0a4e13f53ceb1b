/* The fields of the dialogs that create and edit a user, for form.js. */

import { integer, quotaOrUnlimited, select, text } from "./controls.js";
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

const number = (name, max, placeholder) => ({
  name,
  control: (user) => integer(user[name], { min: 0, max, placeholder: t(placeholder), testid: `field-${name}` }),
  patch: (value) => ({ [name]: value }),
});

export const mainFields = [
  {
    name: "username",
    control: (user) => text(user.username, { testid: "field-name", autofocus: true }),
    patch: (username) => ({ username }),
  },
  {
    name: "user_group",
    control: (user) => text(user.group, { testid: "field-group" }),
    patch: (group) => ({ group }),
  },
  {
    name: "balance",
    control: (user) => quotaOrUnlimited({ units: user.quota, isUnlimited: user.unlimited_quota }, { testid: "field-quota" }),
    patch: balancePatch,
  },
];

/* Only root may create administrators; a present user is promoted by an action of its own. */
export const roleField = {
  name: "role",
  control: (user) => select(String(user.role), roles(), { testid: "field-role" }),
  patch: (role) => ({ role: Number(role) }),
};

const roles = () => (isRoot() ? ["1", "10"] : ["1"]).map((role) => [role, t(`role_${role}`)]);

export const limitFields = [
  number("rpm_limit", 1_000_000, "no_limit"),
  number("tpm_limit", 1e15, "no_limit"),
  number("max_tokens", 1e15, "as_for_all"),
];

/* A present balance is sent as a difference, as spends go on. */
function balancePatch({ units, isUnlimited }, user) {
  const patch = isUnlimited === user.unlimited_quota ? {} : { unlimited_quota: isUnlimited };
  if (isUnlimited) return patch;
  if (user.quota === null) return { ...patch, quota: units };
  const added = units - BigInt(user.quota);
  return added === 0n ? patch : { ...patch, add_quota: added };
}
