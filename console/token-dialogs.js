/* The dialogs that create, edit and rotate a token. */

import { newIdempotencyKey, tokens } from "./api.js";
import { button } from "./buttons.js";
import { integer, rebase, select } from "./controls.js";
import { saveCsv } from "./csv.js";
import { openDialog } from "./dialog.js";
import { createForm, editDialog, foldedForm } from "./form.js";
import { stringify } from "./json.js";
import { t } from "./language.js";
import { showSecrets } from "./secret.js";
import { toast } from "./toast.js";
import { nameOf } from "./token-status.js";
import { limitFields, mainFields, newQuota, NEW_TOKEN } from "./token-fields.js";

const COUNT_MAX = 100; // of one request, which creates all or none

const countField = {
  name: "count",
  isHalf: true,
  control: () => integer("", { min: 1, max: COUNT_MAX, placeholder: "1", testid: "field-count" }),
  patch: (count) => ({ count }),
};

/* Resolves with the created token or tokens, undefined if it was cancelled. */
export function createToken() {
  const [name, ...others] = mainFields;
  const form = tokenForm([name, countField, ...others], NEW_TOKEN);
  const post = createRepeatable((body, key) => tokens.create(body, key));
  return openDialog({
    title: t("new_token"),
    body: form.nodes,
    submit: { label: t("create"), work: () => post(toCreate(form.read())) },
  });
}

/* One token, or an array of several with numbered names. */
function toCreate({ count = 1, ...typed }) {
  const isQuotaGiven = typed.unlimited_quota || typed.refill_amount;
  const token = isQuotaGiven ? typed : { remain_quota: newQuota(), ...typed };
  if (count === 1) return token;
  return Array.from({ length: count }, (_, i) => ({ ...token, name: `${token.name ?? ""}-${i + 1}` }));
}

/* Sends a body with an Idempotency-Key that stays the same while the body does: if an answer is lost, the
 * person can press the button again. After an answer the same body is another request. */
export function createRepeatable(send) {
  let text, key;
  return async (body) => {
    if (stringify(body) !== text) [text, key] = [stringify(body), newIdempotencyKey()];
    const answer = await send(body, key);
    text = undefined;
    return answer;
  };
}

export function showKeys(created) {
  toast(t("created", { n: created.length }));
  const save = () => saveCsv("keys.csv", created, { withKeys: true });
  return showSecrets({
    title: t("new_keys", { n: created.length }),
    text: t("created_hint"),
    secrets: created.map(({ name, key }) => ({ name, secret: key })),
    more: [button(t("export_csv"), save)],
  });
}

/* Resolves as editDialog does. */
export function editToken(shown, owner) {
  const token = { ...shown };
  const update = (patch) => tokens.update({ id: token.id, ...patch }, owner);
  const look = async () => {
    const now = await tokens.get(token.id, owner);
    rebase(token, "remain_quota", now);
    return now;
  };
  return editDialog(t("edit_title", { name: nameOf(token) }), tokenForm(mainFields, token), update, look);
}

const tokenForm = (fields, token) => foldedForm(fields, t("limits_and_refill"), limitFields, token);

const GRACES_S = [0, 900, 3600, 86400];

const graceField = {
  name: "grace",
  control: () => select("0", GRACES_S.map((s) => [String(s), t(`grace_${s}`)]), { testid: "field-grace" }),
  patch: (value) => ({ grace: Number(value) }),
};

/* Resolves with the token with its new key, undefined if it was cancelled. */
export function rotateToken(token) {
  const form = createForm([graceField], {});
  const post = createRepeatable((grace, key) => tokens.rotate(token.id, grace, key));
  return openDialog({
    title: t("rotate_title", { name: nameOf(token) }),
    body: [t("rotate_text"), form.nodes],
    submit: { label: t("rotate"), work: () => post(form.read().grace ?? 0) },
  });
}

export function showNewKey(token) {
  toast(t("rotated_key"));
  const title = t("rotated", { name: nameOf(token) });
  return showSecrets({ title, text: t("created_hint"), secrets: [{ secret: token.key }] });
}
