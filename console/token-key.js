/* A token's key: masked in the list, shown and copied on demand. */

import { base, tokens } from "./api.js";
import { button, copy, iconButton } from "./buttons.js";
import { h } from "./dom.js";
import { icon } from "./icons.js";
import { t } from "./language.js";
import { session } from "./session.js";

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
  const name = token.name || `#${token.id}`;
  const showLabel = `${t("show_key")}: ${name}`;

  const show = async (node) => {
    const isShown = node.ariaPressed === "true";
    code.textContent = isShown ? masked : await tokens.key(token.id);
    node.ariaPressed = String(!isShown);
    node.replaceChildren(icon(isShown ? "show" : "hide"));
  };
  return h("div", { class: "key-line" }, code,
    iconButton("show", showLabel, show, { testid: "key-show", "aria-pressed": "false" }),
    iconButton("copy", `${t("copy_key")}: ${name}`, async () => copy(await tokens.key(token.id), t("copied_key")), { testid: "key-copy" }),
  );
}

/* ---- lines to paste ---- */

const shellQuote = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

const LINES = {
  curl: (key, url, model) => {
    const body = JSON.stringify({ model, messages: [{ role: "user", content: "Hello" }] });
    return `curl ${url}/chat/completions -H 'Authorization: Bearer ${key}' -H 'Content-Type: application/json' -d ${shellQuote(body)}`;
  },
  environment: (key, url) => `export OPENAI_API_KEY=${key}\nexport OPENAI_BASE_URL=${shellQuote(url)}`,
  python: (key, url) => `from openai import OpenAI\n\nclient = OpenAI(api_key="${key}", base_url=${JSON.stringify(url)})`,
  javascript: (key, url) => `import OpenAI from "openai";\n\nconst client = new OpenAI({ apiKey: "${key}", baseURL: ${JSON.stringify(url)} });`,
};

/* Buttons that copy lines with the key, for a client of the gateway beside this service. */
export const copyMenu = (token) =>
  Object.entries(LINES).map(([name, line]) =>
    button(t(`copy_${name}`), async () => copy(line(await tokens.key(token.id), gatewayUrl(), modelOf(token)), t("copied")), {
      testid: `copy-${name}`,
      iconName: "code",
    }));

const gatewayUrl = () => new URL("v1", base).href;

/* A model that the token may use. */
function modelOf({ model_limits_enabled, model_limits }) {
  const limits = model_limits_enabled ? model_limits.split(",") : [];
  return limits.find((model) => model && !model.endsWith("*")) ?? session.models[0] ?? "gpt-4o";
}
