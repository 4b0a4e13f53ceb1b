/* A form from a table of fields. A field is
 *
 *   name      the word of its label is `field_NAME`, that of its hint, if there is one, `hint_NAME`
 *   control   (object) -> a control (controls.js) with the object's value
 *   patch     (value, object) -> the members to send if the value was changed
 *   isHalf    whether it may stand beside another one
 *
 * read() returns the members of all fields that were changed. */

import { ControlError, integer } from "./controls.js";
import { openDialog } from "./dialog.js";
import { h, newId } from "./dom.js";
import { has, t } from "./language.js";
import { stringify } from "./json.js";
import { toast } from "./toast.js";

export function createForm(fields, object) {
  const parts = fields.map((field) => createPart(field, field.control(object)));
  const read = () => Object.assign({}, ...parts.map((part) => part.read(object)));
  return { nodes: parts.map((part) => part.node), read };
}

function createPart(field, control) {
  const before = valueOf(control);
  const id = (control.input.id ||= newId());
  const problem = h("p", { class: "problem", id: newId() });
  const hint = has(`hint_${field.name}`) && h("p", { class: "hint", id: newId() }, t(`hint_${field.name}`));
  const label = h("label", { for: id }, t(`field_${field.name}`));
  control.input.setAttribute("aria-describedby", [problem.id, hint && hint.id].filter(Boolean).join(" "));
  const node = h("div", { class: field.isHalf ? "field half" : "field" }, label, control.node, problem, hint);

  const showProblem = (message) => {
    problem.textContent = message;
    control.input.ariaInvalid = message ? "true" : null;
  };
  const read = (object) => {
    showProblem("");
    try {
      const value = control.get();
      return stringify(value) === before ? {} : field.patch(value, object);
    } catch (error) {
      if (error instanceof ControlError) error.showAtField = () => showAtField(control, showProblem, error);
      throw error;
    }
  };
  return { node, read };
}

function showAtField(control, showProblem, error) {
  showProblem(error.message);
  control.input.closest("details")?.setAttribute("open", "");
  control.input.focus();
}

/* What counts as unchanged; a control that must be filled in has no value yet. */
function valueOf(control) {
  try {
    return stringify(control.get());
  } catch {
    return undefined;
  }
}

/* A form with fields that are rarely needed behind a summary; it is open if one of them has a value. */
export function foldedForm(fields, summary, folded, object) {
  const main = createForm(fields, object);
  const more = createForm(folded, object);
  const isUsed = folded.some(({ name, unset }) => object[name] !== unset);
  return {
    nodes: [main.nodes, h("details", { open: isUsed }, h("summary", {}, summary), h("div", { class: "fields" }, more.nodes))],
    read: () => ({ ...main.read(), ...more.read() }),
  };
}

/* The dialog that changes a present object. update: (members) -> what it resolves with, undefined if nothing was
 * changed; look: () -> the object's present state, asked for before what failed is tried again, as it is perhaps done.
 * Resolves with null if it was left after a failure. */
export async function editDialog(title, form, update, look) {
  let hasFailed = false;
  const work = async () => {
    const found = hasFailed ? await look() : undefined;
    const patch = form.read();
    if (Object.keys(patch).length === 0) return found;
    hasFailed = true;
    const changed = await update(patch);
    toast(t("saved"));
    return changed;
  };
  const changed = await openDialog({ title, body: form.nodes, submit: { label: t("save"), work } });
  return changed ?? (hasFailed ? null : undefined);
}

/* A whole number, whose name is also the member's. unset: the value that means that it is not used. */
export const numberField = (name, { min = 0, max, unset = 0, placeholder }) => ({
  name,
  unset,
  isHalf: true,
  control: (object) => integer(object[name], { min, max, placeholder: placeholder && t(placeholder), testid: `field-${name}` }),
  patch: (value) => ({ [name]: value }),
});
