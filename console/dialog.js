/* Modal dialogs: real <dialog> elements, which Escape closes, and which give the focus back. */

import { abandonWaits } from "./api.js";
import { h, newId, rememberFocus, runBusy } from "./dom.js";
import { errorText, t } from "./language.js";
import { homeToast, toastError } from "./toast.js";

/* Opens a dialog with a form.
 *
 *   title, body   the text of the heading; nodes
 *   submit        {label, isDanger, work}; work is run by the submit button, and the dialog closes when
 *                 it is done, unless it returned false. What it throws is told in the dialog. Absent: there
 *                 is only a close button
 *   mayClose      asked before it closes without work; false keeps it open
 *   stays         over the next page too: what it shows can't be shown again
 *
 * Resolves when the dialog has closed, with what work returned; undefined if it was not run. Work that runs when it
 * is closed is waited for: what it did is done; but what waits to be repeated is given up. */
export function openDialog({ title, body, submit, mayClose = () => true, isWide = false, stays = false }) {
  let result;
  let running;
  const heading = h("h2", { id: newId() }, title);
  const failure = h("p", { class: "failure", role: "alert" });
  const dialog = h("dialog", { "aria-labelledby": heading.id, class: isWide && "wide", "data-stays": stays });
  const restoreFocus = rememberFocus();
  const leave = () => mayClose() && dialog.close();

  const cancel = h("button", { type: "button", testid: "cancel", click: leave }, t(submit ? "cancel" : "close"));
  const go = submit && submitButton(submit);
  const form = h("form", { novalidate: true }, heading, h("div", { class: "body" }, body), failure,
    h("div", { class: "buttons" }, cancel, go));

  const run = async () => {
    failure.textContent = "";
    result = await submit.work();
    if (result !== false) dialog.close();
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!go) leave();
    else if (!go.ariaBusy) running = runBusy(go, run, (error) => (dialog.open ? showFailure(failure, error) : toastError(error)));
  });
  dialog.addEventListener("cancel", (event) => mayClose() || event.preventDefault());
  dialog.append(form);
  document.body.append(dialog);
  dialog.showModal();
  homeToast();
  return new Promise((resolve) => {
    dialog.addEventListener("close", async () => {
      dialog.remove();
      homeToast();
      if (go?.ariaBusy) abandonWaits();
      if (document.activeElement === document.body) restoreFocus(document.querySelector("main"));
      await running;
      resolve(result);
    });
  });
}

const submitButton = ({ label, isDanger }) =>
  h("button", { type: "submit", testid: "submit", class: isDanger ? "danger" : "primary" }, label);

/* An error of a field is shown beside the field. */
function showFailure(failure, error) {
  if (error.showAtField) error.showAtField();
  else failure.textContent = errorText(error);
}

/* Asks before something is destroyed or cut off; text names what. Resolves with what work returned. */
export const confirm = ({ title, text, label, work }) =>
  openDialog({ title, body: h("p", {}, text), submit: { label, isDanger: true, work: async () => (await work()) || true } });
