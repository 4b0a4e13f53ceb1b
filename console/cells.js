/* What several tables show in their cells, and in their place. */

import { button } from "./buttons.js";
import { h } from "./dom.js";
import { number, quota } from "./format.js";
import { svg } from "./icons.js";
import { errorText, t } from "./language.js";

const KINDS = { enabled: "good", soon: "warn", low: "warn", expired: "bad", exhausted: "bad", disabled: "off" };

export const chip = (word) => h("span", { class: `chip ${KINDS[word] ?? ""}` }, t(`status_${word}`));

export const muted = (...children) => h("span", { class: "muted" }, children);

/* A main line and a smaller one below. */
export const lines = (main, ...below) => [
  h("div", { class: "main" }, main),
  below.map((one) => one && h("div", { class: "muted" }, one)),
];

/* used of total, as a text and a bar. */
export function quotaBar(used, total) {
  const percent = total > 0n ? Number((used * 1000n) / total) / 10 : 100;
  const fill = svg("rect", { width: `${percent}%`, height: "100%", class: percent > 90 ? "bad" : "" });
  const bar = svg("svg", { class: "bar", role: "img", "aria-label": t("percent_used", { percent: number(percent) }) }, fill);
  return [h("div", {}, h("b", {}, quota(used)), " ", muted("/ ", quota(total))), bar];
}

/* ---- instead of a table ---- */

export const state = (testid, ...nodes) => h("div", { class: "state", testid }, nodes);

/* again: asks once more. */
export const failedState = (error, again, ...more) =>
  h("div", { class: "state", role: "alert", testid: "failed" },
    h("p", {}, errorText(error)), h("div", { class: "row" }, button(t("try_again"), again, { testid: "retry" }), more));
