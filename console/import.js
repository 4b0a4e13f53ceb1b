/* Tokens from a file: read, checked as a whole, shown, and only then created, in requests of at most 100,
 * each of which creates all of its tokens or none. */

import { tokens } from "./api.js";
import { button } from "./buttons.js";
import { parseCsv } from "./csv.js";
import { h } from "./dom.js";
import { NEVER, timeOrNever, number, quota } from "./format.js";
import { errorText, t } from "./language.js";
import { parse, stringify } from "./json.js";
import { session } from "./session.js";
import { createRepeatable, showKeys } from "./token-dialogs.js";
import { toast } from "./toast.js";

const BATCH_MAX = 100;
const SHOWN_MAX = 100;

/* ---- what may stand in a file: (text or value) -> value; throws the word of what is wrong ---- */

const integer = (min, max) => (value) => {
  const text = String(value).trim();
  if (!/^-?\d+$/.test(text)) throw "bad_number";
  const found = BigInt(text);
  if (found < min || found > max) throw "bad_range";
  return found;
};

const QUOTA = integer(0n, 2n ** 63n - 1n);

function boolean(value) {
  const text = String(value).trim().toLowerCase();
  if (["true", "1", "yes"].includes(text)) return true;
  if (["false", "0", "no"].includes(text)) return false;
  throw "bad_boolean";
}

/* Unix seconds, a time as ISO 8601, or "never", as the API takes 0 too. */
function expiry(value) {
  const text = String(value).trim();
  if (["", "-1", "0", "never"].includes(text)) return NEVER;
  if (/^\d+$/.test(text)) return integer(0n, 2n ** 63n - 1n)(text);
  const ms = /^\+?\d{4,6}-\d\d-\d\d/.test(text) ? Date.parse(text) : NaN; // which takes "7 days" for a day of 2001
  if (Number.isNaN(ms)) throw "bad_time";
  return Math.floor(ms / 1000);
}

function name(value) {
  if ([...String(value)].length > session.site.name_max) throw "bad_name";
  return String(value);
}

function oneOf(words) {
  return (value) => {
    if (!words.includes(String(value))) throw "bad_choice";
    return String(value);
  };
}

/* Blanks are part of a model's name. A limit that names nothing must not become none. */
function words(value) {
  const found = (Array.isArray(value) ? value.map(String) : String(value).split(/[,;\n]/)).map((one) => one.trim()).filter(Boolean);
  if (found.length === 0 && !Array.isArray(value)) throw "bad_list";
  return found;
}

const addresses = (value) => words(value).join(",");

/* Fields that are not here are ignored, as the API ignores them: what was exported can be imported. models and
 * subnet are One API's names. */
const FIELDS = {
  name,
  remain_quota: QUOTA,
  unlimited_quota: boolean,
  expired_time: expiry,
  model_limits: words,
  models: words,
  model_limits_enabled: boolean,
  allow_ips: addresses,
  subnet: addresses,
  group: String,
  rpm_limit: integer(0n, 1_000_000n),
  tpm_limit: integer(0n, 10n ** 15n),
  max_parallel_requests: integer(0n, 1000n),
  refill_amount: QUOTA,
  refill_interval: oneOf(["none", "day", "week", "month"]),
  refill_day: integer(1n, 31n),
};

/* What an export has beside them; of what is in neither, a person is told. */
const LEFT_OUT = ["id", "user_id", "key", "status", "used_quota", "created_time", "accessed_time"];
const KNOWN = new Set([...Object.keys(FIELDS), ...LEFT_OUT, ""]);

/* ---- checking ---- */

/* The rows of a text; throws a word. */
function readRows(text) {
  if (!/^\s*[[{]/.test(text)) return parseCsv(text);
  try {
    return [parse(text)].flat();
  } catch {
    throw "bad_json";
  }
}

const isGiven = (value) => value !== undefined && value !== null && value !== "";

/* {row, token, problems}. */
function check(row) {
  const token = {};
  const problems = [];
  if (row === null || typeof row !== "object") return { row: {}, token, problems: [t("bad_row")] };
  for (const [field, read] of Object.entries(FIELDS)) {
    if (!isGiven(row[field])) continue;
    try {
      token[field] = read(row[field]);
    } catch (word) {
      problems.push(`${field}: ${t(word)}`);
    }
  }
  if (!token.unlimited_quota && !isGiven(row.remain_quota) && !isGiven(row.refill_amount)) problems.push(t("bad_no_quota"));
  return { row, token, problems };
}

/* ---- the page ---- */

export async function importPage() {
  const result = h("div", { "aria-live": "polite", testid: "import-preview" });
  const area = h("textarea", {
    rows: 8, class: "mono", spellcheck: "false", testid: "import-text",
    placeholder: t("import_placeholder"), "aria-label": t("import_text"),
  });
  const file = h("input", {
    type: "file", accept: ".csv,.json,text/csv,application/json", testid: "import-file",
    "aria-label": t("import_file"),
  });
  const draw = () => result.replaceChildren(...preview(area.value, keep));
  const keep = (rest) => {
    area.value = rest.length > 0 ? stringify(rest) : "";
    draw();
  };
  file.addEventListener("change", async () => {
    area.value = file.files.length > 0 ? await file.files[0].text() : "";
    draw();
  });
  area.addEventListener("input", draw);
  const node = h("div", { class: "card" }, h("p", {}, t("import_hint")), h("div", { class: "row" }, file), area, result);
  return { title: t("nav_import"), node };
}

/* keep(rest) is called with the tokens that are not created yet. */
function preview(text, keep) {
  if (!text.trim()) return [];
  let rows;
  try {
    rows = readRows(text).map(check);
  } catch (word) {
    return [h("p", { class: "problem", role: "alert" }, t(word))];
  }
  const bad = rows.filter(({ problems }) => problems.length > 0).length;
  const ignored = [...new Set(rows.flatMap(({ row }) => Object.keys(row)))].filter((field) => !KNOWN.has(field));
  const work = () => create(rows.map(({ token }) => token), keep);
  const go = button(t("import_go", { n: rows.length }), work, { class: "primary", testid: "import-submit" });
  const verdict = t(bad > 0 ? "import_bad" : "import_good", { n: bad || rows.length, all: rows.length });
  return [
    h("p", { class: bad > 0 ? "problem" : "" }, verdict),
    ignored.length > 0 && h("p", { class: "warn" }, t("import_ignored", { names: ignored.slice(0, SHOWN_MAX).join(", ") })),
    rows.length > 0 && previewTable(rows),
    bad === 0 && rows.length > 0 && h("div", { class: "row" }, go),
  ].filter(Boolean);
}

/* Bad rows come first. */
function previewTable(rows) {
  const numbered = rows.map((row, i) => ({ ...row, line: i + 1 }));
  const shown = numbered.toSorted((a, b) => (b.problems.length > 0) - (a.problems.length > 0)).slice(0, SHOWN_MAX);
  const headings = ["row", "name", "units_left", "expires", "problems"].map((word) => h("th", { scope: "col" }, t(`column_${word}`)));
  return h("table", { class: "plain-table" }, h("thead", {}, h("tr", {}, headings)), h("tbody", {}, shown.map(previewRow)));
}

function previewRow({ line, row, token, problems }) {
  const left = token.unlimited_quota ? t("unlimited") : quota(token.remain_quota ?? token.refill_amount ?? 0n);
  return h("tr", { testid: "import-row" },
    h("td", {}, number(line)), h("td", {}, String(row.name ?? "")), h("td", {}, left),
    h("td", {}, timeOrNever(token.expired_time ?? NEVER)), h("td", { class: "problem" }, problems.join("; ")));
}

const post = createRepeatable(tokens.create);

/* What was created is shown even if a later request fails. */
async function create(all, keep) {
  const created = [];
  let failure = null;
  for (let start = 0; start < all.length && !failure; start += BATCH_MAX) {
    try {
      created.push(...(await post(all.slice(start, start + BATCH_MAX))));
    } catch (error) {
      failure = error;
    }
  }
  if (failure && created.length === 0) throw failure;
  keep(all.slice(created.length));
  if (failure) toast(t("import_stopped", { n: created.length, all: all.length, message: errorText(failure) }), { isError: true });
  await showKeys(created);
}
