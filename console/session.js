/* Who is signed in, and what the person has chosen. The access token is in sessionStorage: it ends
 * with the tab, and as it is no cookie, no other site can use it. */

const CREDENTIALS = "token.credentials";

/* self, site, groups and models are the answers of the API; they are there once signed in. */
export const session = {
  credentials: JSON.parse(sessionStorage.getItem(CREDENTIALS)),
  self: null,
  site: null,
  groups: {},
  models: [],
};

/* user may be "". */
export function signIn(user, token) {
  session.credentials = { user, token };
  sessionStorage.setItem(CREDENTIALS, JSON.stringify(session.credentials));
}

export function signOut() {
  session.credentials = session.self = null;
  sessionStorage.removeItem(CREDENTIALS);
}

/* Signs in by a link, `#user=1&token=…`, and takes it out of the address and the history. The part
 * behind # is never sent to a server. Returns whether it was such a link. */
export function signInByLink() {
  const link = new URLSearchParams(location.hash.slice(1));
  if (!link.has("token")) return false;
  history.replaceState(null, "", location.pathname);
  signIn(link.get("user") ?? "", link.get("token"));
  return true;
}

export const isAdministrator = () => session.self.role >= 10;
export const isRoot = () => session.self.role >= 100;

/* ---- choices, kept for the next visit ---- */

const CHOICES = "token.choices";

export const choices = { language: null, unit: "units", pageSize: 20, ...readChoices() };

function readChoices() {
  try {
    return JSON.parse(localStorage.getItem(CHOICES));
  } catch {
    return {}; // storage is forbidden, or another program's
  }
}

export function choose(name, value) {
  choices[name] = value;
  try {
    localStorage.setItem(CHOICES, JSON.stringify(choices));
  } catch {
    // holds for this page only
  }
}
