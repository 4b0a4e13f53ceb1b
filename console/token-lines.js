/* Lines with a token's key, to paste where a client of the gateway beside this service is set up. */

import { base } from "./api.js";
import { session } from "./session.js";

const shellQuote = (text) => (/^[\w:/.-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);

/* name: a member of LINES. */
export const tokenLine = (name, token, key) => LINES[name](key, new URL("v1", base).href, modelOf(token));

const LINES = {
  curl: (key, url, model) => {
    const body = JSON.stringify({ model, messages: [{ role: "user", content: "Hello" }] });
    const headers = `-H 'Authorization: Bearer ${key}' -H 'Content-Type: application/json'`;
    return `curl ${shellQuote(`${url}/chat/completions`)} ${headers} -d ${shellQuote(body)}`;
  },
  environment: (key, url) => `export OPENAI_API_KEY=${key}\nexport OPENAI_BASE_URL=${shellQuote(url)}`,
  python: (key, url) => `from openai import OpenAI\n\nclient = OpenAI(api_key="${key}", base_url=${JSON.stringify(url)})`,
  javascript: (key, url) =>
    `import OpenAI from "openai";\n\nconst client = new OpenAI({ apiKey: "${key}", baseURL: ${JSON.stringify(url)} });`,
};

/* A model that the token may use. */
function modelOf({ model_limits_enabled, model_limits }) {
  const limits = model_limits_enabled ? model_limits.split(",") : [];
  return limits.find((model) => model && !model.endsWith("*")) ?? session.models[0] ?? "gpt-4o";
}
