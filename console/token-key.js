/* A token's key: masked in the list, shown and copied on demand. */

import { tokens } from "./api.js";
import { button, copy, iconButton } from "./buttons.js";
import { h } from "./dom.js";
import { icon } from "./icons.js";
import { t } from "./language.js";
import { nameOf } from "./token-status.js";

/* As the service masks keys (TOKEN_KEYS=masked); it may also have sent them in full. */
function mask(key) {
  if (key.includes("*")) return key;
  const shown = key.length < 27 ? 2 : 4; // 24 characters behind "sk-"
  return `${key.slice(0, 3 + shown)}**********${key.slice(-shown)}`;
}

/* owner: whose keys are never shown. */
export function keyCell(token, owner) {
  const masked = mask(token.key);
  const code = h("code", {}, masked);
  if (owner) return code;
  const name = nameOf(token);
  const showLabel = `${t("show_key")}: ${name}`;
  const copyLabel = `${t("copy_key")}: ${name}`;
  const copyKey = async () => copy(await tokens.key(token.id), t("copied_key"));

  const show = async (node) => {
    const isShown = node.ariaPressed === "true";
    code.textContent = isShown ? masked : await tokens.key(token.id);
    node.ariaPressed = String(!isShown);
    node.replaceChildren(icon(isShown ? "show" : "hide"));
  };
  return h("div", { class: "key-line" }, code,
    iconButton("show", showLabel, show, { testid: "key-show", "aria-pressed": "false" }),
    iconButton("copy", copyLabel, copyKey, { testid: "key-copy" }),
  );
}

/* ---- lines to paste (token-lines.js) ---- */

const LINES = ["curl", "environment", "python", "javascript"];

export const copyMenu = (token) =>
  LINES.map((name) => button(t(`copy_${name}`), () => copyLine(name, token), { testid: `copy-${name}`, iconName: "code" }));

async function copyLine(name, token) {
  const { tokenLine } = await import("./token-lines.js");
  await copy(tokenLine(name, token, await tokens.key(token.id)));
}
