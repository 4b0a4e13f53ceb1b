/* The console: who is signed in, the frame around the pages, and which page the address names:
 * `#PAGE?NAME=VALUE&…`. */

import { base, events, isRefused, self, site } from "./api.js";
import { button } from "./buttons.js";
import { failedState } from "./cells.js";
import { closeDialogs, h, keepFocus } from "./dom.js";
import { icon } from "./icons.js";
import { applyLanguage, errorText, nextLanguage, setLanguage, t } from "./language.js";
import { choices, choose, isAdministrator, session, signInByLink, signOut } from "./session.js";
import { tokensPage } from "./tokens.js";
import { words } from "./words.js";

/* A page: (parameters, setParameters) -> {title, node}, and if it has them: back, the address of the page
 * above it; reload(). */
const PAGES = {
  tokens: tokensPage,
  import: async (...parameters) => (await import("./import.js")).importPage(...parameters),
  account: async (...parameters) => (await import("./account.js")).accountPage(...parameters),
  history: async (...parameters) => (await import("./history.js")).historyPage(...parameters),
};

const ADMINISTRATORS_PAGES = {
  users: async (...parameters) => (await import("./users.js")).usersPage(...parameters),
  audit: async (...parameters) => (await import("./history.js")).auditPage(...parameters),
};

const pages = () => (isAdministrator() ? { ...PAGES, ...ADMINISTRATORS_PAGES } : PAGES);

const frame = h("div");
const main = h("main", { id: "main", tabindex: -1 });
const notice = h("p", { class: "notice", role: "status", hidden: true, testid: "notice" });
let page = null;
let asked = 0;

/* ---- signing in and out ---- */

async function load() {
  const all = [session.site ?? site(), self.get(), self.groups(), self.models()];
  const [status, person, groups, models] = await Promise.all(all);
  Object.assign(session, { site: status, self: person, groups, models });
  drawFrame();
  await showPage();
}

async function start() {
  closeDialogs(); // of who was signed in before a link
  if (!session.credentials) {
    await showSignIn();
    session.site = await site().catch(() => null); // for its name; the sign-in does without
    return drawFrame();
  }
  try {
    await load();
  } catch (error) {
    if (isRefused(error)) showSignIn(errorText(error));
    else showFailure(error, start);
  }
}

async function showSignIn(message) {
  signOut();
  asked++; // what is still being loaded is dropped
  page = null;
  closeDialogs();
  main.replaceChildren();
  drawFrame();
  const found = await import("./sign-in.js").catch((error) => showFailure(error, () => showSignIn(message)));
  if (!found) return;
  main.replaceChildren(found.signInPage(load, message));
  main.querySelector("[autofocus]").focus();
}

function leave() {
  history.replaceState(null, "", location.pathname);
  showSignIn();
}

/* ---- the frame ---- */

function drawFrame() {
  document.title = [page?.title, session.site?.system_name ?? t("nav_tokens")].filter(Boolean).join(" · ");
  keepFocus(() => frame.replaceChildren(skipLink(), header()));
}

const skipLink = () =>
  h("a", { class: "skip", href: "#main", click: (event) => { event.preventDefault(); main.focus(); } }, t("skip"));

function header() {
  const name = session.site?.system_name ?? t("nav_tokens");
  const brand = h("a", { class: "brand", href: "#tokens" }, icon("key"), name);
  return h("header", {}, brand, session.self && navigation(), h("div", { class: "row end" },
    session.self && unitButton(),
    button(words[nextLanguage()].name, switchLanguage, { testid: "lang", class: "quiet", lang: words[nextLanguage()].tag }),
    session.self && h("span", { class: "who", testid: "who" }, session.self.username),
    session.self && button(t("sign_out"), leave, { testid: "signout", class: "quiet" })));
}

function navigation() {
  const present = readAddress().name;
  return h("nav", { "aria-label": t("pages_of_console") },
    Object.keys(pages()).map((name) => {
      const current = name === present && "page";
      return h("a", { href: `#${name}`, testid: `nav-${name}`, "aria-current": current }, t(`nav_${name}`));
    }),
    h("a", { href: new URL("console/api.html", base).href, testid: "nav-api" }, t("nav_api")));
}

function unitButton() {
  const other = choices.unit === "money" ? "units" : "money";
  return button(t(`as_${other}`), () => switchUnit(other), { testid: "unit", class: "quiet", title: t(`as_${other}_title`) });
}

function switchUnit(unit) {
  choose("unit", unit);
  drawFrame();
  return showPage();
}

function switchLanguage() {
  setLanguage(nextLanguage());
  if (!session.self) return start();
  drawFrame();
  return showPage();
}

/* ---- pages ---- */

function readAddress() {
  const [name, query] = location.hash.slice(1).split("?");
  return { name: Object.hasOwn(pages(), name) ? name : "tokens", params: Object.fromEntries(new URLSearchParams(query)) };
}

/* Keeps what a page shows in the address, so that a reload shows it again. */
function writeAddress(name, params) {
  const query = new URLSearchParams(Object.entries(params).filter(([, value]) => value));
  history.replaceState(null, "", `#${name}${query.size > 0 ? `?${query}` : ""}`);
}

/* A page that comes after another one was asked for is dropped. */
async function showPage() {
  const number = ++asked;
  const { name, params } = readAddress();
  const isPresent = () => number === asked;
  const loading = setTimeout(() => isPresent() && main.replaceChildren(h("p", { class: "loading" }, t("loading"))), 300);
  try {
    const shown = await pages()[name](params, (changed) => isPresent() && writeAddress(name, changed));
    if (!isPresent()) return;
    page = shown;
    const back = page.back && h("a", { href: page.back, class: "back" }, `‹ ${t("back")}`);
    main.replaceChildren(h("div", { class: "title" }, back || "", h("h1", { tabindex: -1 }, page.title)), page.node);
    drawFrame();
  } catch (error) {
    if (isPresent()) showFailure(error, showPage);
  } finally {
    clearTimeout(loading);
  }
}

function showFailure(error, again) {
  page = { reload: again };
  main.replaceChildren(failedState(error, again, !session.self && button(t("sign_out"), leave, { testid: "signout", class: "quiet" })));
  drawFrame();
}

async function followAddress() {
  if (!session.self) return;
  closeDialogs();
  await showPage();
  main.querySelector("h1")?.focus();
}

/* ---- what the service and the network say ---- */

let ticking;

function showWait({ detail: seconds }) {
  let left = seconds;
  const draw = () => showNotice(t("waiting", { n: left }));
  clearInterval(ticking);
  ticking = setInterval(() => left > 1 && (left--, draw()), 1000);
  draw();
}

function showNotice(text) {
  notice.textContent = text;
  notice.hidden = !text;
}

function endNotice() {
  clearInterval(ticking);
  showNotice(navigator.onLine ? "" : t("offline"));
}

function focusSearch(event) {
  const isTyping = event.target.closest?.("input, textarea, select, dialog");
  const search = document.querySelector("[data-testid=search]");
  if (event.key !== "/" || isTyping || !search || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  search.focus();
  search.select();
}

events.addEventListener("wait", showWait);
events.addEventListener("go", endNotice);
events.addEventListener("refused", ({ detail: error }) => session.self && showSignIn(errorText(error)));
events.addEventListener("stale", () => page?.reload?.());
addEventListener("offline", endNotice);
addEventListener("online", () => {
  endNotice();
  page?.reload?.();
});
addEventListener("hashchange", () => {
  signInByLink() ? start() : followAddress();
});
addEventListener("keydown", focusSearch);

signInByLink();
applyLanguage();
document.body.replaceChildren(frame, notice, main);
drawFrame();
if ("rawJSON" in JSON && CSS.supports("color", "light-dark(red, red)")) start();
else main.replaceChildren(h("p", { class: "state" }, t("old_browser")));
