/* The dialog after a create or a rotation: keys or an access token, to be copied before it is left. */

import { button, copy } from "./buttons.js";
import { openDialog } from "./dialog.js";
import { h } from "./dom.js";
import { t } from "./language.js";

/* secrets: [{name, secret}]. isOnce: they can't be shown again, so that the first attempt to close the
 * dialog is refused while they are not copied. more: nodes below. */
export async function showSecrets({ title, text, secrets, isOnce = false, more = [] }) {
  let isCopied = false;
  const warning = h("p", { class: "failure", role: "alert" });
  const warnBeforeUnload = (event) => isCopied || event.preventDefault();
  const mayClose = () => {
    if (!isOnce || isCopied || warning.textContent) return true;
    warning.textContent = t("secret_not_copied");
    return false;
  };
  const copyAll = async () => {
    await copy(secrets.map(({ secret }) => secret).join("\n"));
    isCopied = true;
  };
  const label = secrets.length > 1 ? t("copy_all", { n: secrets.length }) : t("copy");
  addEventListener("beforeunload", warnBeforeUnload);
  await openDialog({
    title,
    body: [
      h("p", {}, text),
      h("ul", { class: "secrets", tabindex: 0, "aria-label": title }, secrets.map(secretItem)),
      h("div", { class: "row" }, button(label, copyAll, { iconName: "copy", class: "primary", autofocus: true }), more),
      warning,
    ],
    mayClose,
    stays: isOnce,
  });
  removeEventListener("beforeunload", warnBeforeUnload);
}

const secretItem = ({ name, secret }) =>
  h("li", {}, name && h("span", { class: "muted" }, name), h("code", { testid: "secret" }, secret));
