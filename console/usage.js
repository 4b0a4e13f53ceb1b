/* Use by day, as bars and as a table. */

import { openDialog } from "./dialog.js";
import { h } from "./dom.js";
import { day as dateOf, number, quota } from "./format.js";
import { svg } from "./icons.js";
import { t } from "./language.js";

const DAYS = 30;

/* fetchDays: (number of days) -> {days: [{date, units, requests}]}, oldest first. */
export async function showUsage(name, fetchDays) {
  await openDialog({ title: t("usage_of", { name }), body: await usage(fetchDays), isWide: true });
}

export async function usage(fetchDays) {
  const { days } = await fetchDays(DAYS);
  const sum = (member) => days.reduce((all, day) => all + BigInt(day[member]), 0n);
  const text = t("usage_sum", { days: days.length, quota: quota(sum("units")), requests: t("requests_n", { n: number(sum("requests")) }) });
  if (sum("units") === 0n && sum("requests") === 0n) return h("p", { class: "muted" }, t("no_usage", { days: days.length }));
  return [h("p", {}, text), chart(days), h("details", {}, h("summary", {}, t("as_table")), table(days))];
}

/* A day is 10 wide; heights are parts of the highest one's, in hundredths. */
function chart(days) {
  const highest = days.reduce((most, { units }) => (BigInt(units) > most ? BigInt(units) : most), 1n);
  const bars = days.map((day, i) => {
    const height = Number((BigInt(day.units) * 10000n) / highest) / 100;
    const title = svg("title", {}, `${dateOf(day.date)}: ${quota(day.units)} · ${t("requests_n", { n: number(day.requests) })}`);
    const bar = svg("rect", { x: i * 10 + 1, width: 8, y: 100 - height, height: Math.max(height, 0.5), rx: 1 });
    return svg("g", {}, title, svg("rect", { x: i * 10, width: 10, y: 0, height: 100, class: "hover" }), bar);
  });
  const label = t("usage_chart", { first: dateOf(days[0].date), last: dateOf(days.at(-1).date), quota: quota(highest) });
  const viewBox = `0 0 ${days.length * 10} 100`;
  return h("figure", { class: "chart" },
    h("div", { class: "axis muted" }, quota(highest)),
    svg("svg", { viewBox, preserveAspectRatio: "none", role: "img", "aria-label": label }, ...bars),
    h("figcaption", { class: "axis muted" }, h("span", {}, dateOf(days[0].date)), h("span", {}, dateOf(days.at(-1).date))));
}

const numberCell = (text) => h("td", { class: "number" }, text);

function table(days) {
  const row = ({ date, units, requests }) =>
    h("tr", {}, h("td", {}, dateOf(date)), numberCell(quota(units)), numberCell(number(requests)));
  const headings = ["date", "units", "requests"].map((name) => h("th", { scope: "col", class: name !== "date" && "number" }, t(`column_${name}`)));
  return h("table", { class: "plain-table" }, h("thead", {}, h("tr", {}, headings)), h("tbody", {}, days.toReversed().map(row)));
}
