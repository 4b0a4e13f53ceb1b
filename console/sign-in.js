/* The page before one is signed in. */

import { h, newId, runBusy } from "./dom.js";
import { errorText, t } from "./language.js";
import { isAccessToken, signIn, signOut } from "./session.js";

/* load: loads what the console needs with the new credentials; message: why one is here again. */
export function signInPage(load, message = "") {
  const token = field("signin_token", {
    type: "password", autocomplete: "current-password", testid: "signin-token", autofocus: true,
  });
  const user = field("signin_user", { type: "text", inputmode: "numeric", autocomplete: "username", testid: "signin-user" });
  const failure = h("p", { class: "failure", role: "alert", testid: "signin-failure" }, message);
  const go = h("button", { type: "submit", class: "primary", testid: "signin-submit" }, t("sign_in"));

  const work = async () => {
    failure.textContent = "";
    const typed = token.input.value.trim().replace(/^Bearer\s+/i, "");
    if (!isAccessToken(typed)) return fail(t("bad_access_token"));
    const id = user.input.value.trim();
    if (!/^\d*$/.test(id)) return fail(t("bad_user_id"), user.input);
    signIn(id, typed);
    await load();
  };
  const fail = (text, input = token.input) => {
    failure.textContent = text;
    input.focus();
  };
  const submit = (event) => {
    event.preventDefault();
    runBusy(go, work, (error) => {
      signOut();
      fail(errorText(error));
    });
  };
  return h("form", { class: "sign-in card", novalidate: true, submit },
    h("h1", {}, t("sign_in")), h("p", {}, t("signin_hint")), token.node, user.node, failure, go);
}

function field(word, attributes) {
  const id = newId();
  const input = h("input", { id, spellcheck: "false", ...attributes });
  return { input, node: h("div", { class: "field" }, h("label", { for: id }, t(word)), input) };
}
