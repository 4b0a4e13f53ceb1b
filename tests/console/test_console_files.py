"""What nginx serves at /console/: headers, types, ETags; and how heavy it is."""

import gzip
import re
import subprocess

import pytest
from client import transport
from service import BUILD, ROOT

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)

TYPES = {
    "": "text/html; charset=utf-8",
    "index.html": "text/html; charset=utf-8",
    "api.html": "text/html; charset=utf-8",
    "app.js": "text/javascript; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


@pytest.fixture(params=["public", "internal"])
def get(request, site):
    send = transport(site.port if request.param == "public" else site.internal_port)
    return lambda path, method="GET", **headers: send(
        method, path, {name.replace("_", "-"): value for name, value in headers.items()}, None)


@pytest.mark.parametrize("name", TYPES)
def test_types_and_headers(get, name):
    reply = get(f"/console/{name}")
    assert (reply.status, reply.headers["content-type"]) == (200, TYPES[name])
    expected = {
        "cache-control": "no-cache",
        "content-security-policy": CSP,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
    }
    assert {header: reply.headers.get(header) for header in expected} == expected
    again = get(f"/console/{name}", If_None_Match=reply.headers["etag"])
    assert (again.status, again.body) == (304, b"")
    assert get(f"/console/{name}", If_None_Match='"other"').status == 200


def test_other_paths(get):
    reply = get("/console")
    assert (reply.status, reply.headers["location"]) == (308, "/console/")
    for path in ("/console/none.js", "/console/../nginx.conf", "/console/..%2fnginx.conf", "/consoles/", "/console/%2e%2e/secret"):
        assert get(path).status in (400, 404), path
    assert get("/console/app.js", "POST").status == 405
    failure = get("/console/none.js")
    assert failure.json == {"success": False, "message": "Not found", "code": "not_found"}


def reach(pattern, names):
    """The files that index.html leads to."""
    reached, left = set(), ["index.html"]
    while left:
        name = left.pop()
        reached.add(name)
        found = re.findall(pattern, (ROOT / "console" / name).read_text())
        left += [one for one in found if one not in reached and one in names]
    return reached


def test_every_file_is_reached_and_small(get, record_property):
    """At most 40 KB over the wire until the list is shown; the rest is loaded when it is needed."""
    names = {path.name for path in (ROOT / "console").iterdir()}
    for_the_list = reach(r"""(?:from "\./|href="|src=")([\w.-]+)""", names)
    assert reach(r"""(?:from "\./|import\("\./|href="|src=")([\w.-]+)""", names) == names
    sizes = {}
    for name in sorted(names):
        reply = get(f"/console/{name}", Accept_Encoding="gzip")
        is_packed = reply.headers.get("content-encoding") == "gzip"
        assert is_packed or name == "icon.svg" or len(reply.body) < 1024
        text = gzip.decompress(reply.body) if is_packed else reply.body
        assert text == (ROOT / "console" / name).read_bytes()
        sizes[name] = len(reply.body)
    first = sum(sizes[name] for name in for_the_list)
    record_property("note", f"console: {len(for_the_list)} files, {first:,} bytes over the wire for the list of tokens;"
                            f" {len(names)} files, {sum(sizes.values()):,} bytes for all pages and dialogs")
    assert first <= 40_000
    preloaded = set(re.findall(r'"modulepreload" href="([\w.-]+)"', (ROOT / "console/index.html").read_text()))
    assert preloaded | {"app.js"} == {name for name in reach(r"""(?:from "\./|src=")([\w.-]+)""", names) if name.endswith(".js")}


def test_nothing_but_own_words_and_files():
    """No address of another host, no inline script or style, no string as markup."""
    for path in (ROOT / "console").iterdir():
        text = path.read_text()
        addresses = set(re.findall(r"https?://[^\s\"'`)]+", text)) - {"http://www.w3.org/2000/svg"}
        assert addresses == set(), path
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", text), path
        assert not re.search(r"<style|<script(?! type=\"module\" src)| style=| on\w+=\"", text), path


def test_api_html_is_up_to_date():
    made = subprocess.run(
        ["/usr/bin/python3", ROOT / "dev/api_html.py", ROOT / "openapi.yaml"], capture_output=True, check=True)
    assert made.stdout == (BUILD / "console/api.html").read_bytes()


# ---- in the browser: measured, not asserted as time ----


def test_a_list_of_100_is_shown_quickly(page, user, record_property):
    user.make_many(100, unlimited_quota=False, remain_quota=10**6)
    page.driver.execute_script("localStorage.setItem('token.choices', '{\"pageSize\": 100}')")
    page.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": """
        window.longTasks = [];
        new PerformanceObserver((list) => window.longTasks.push(...list.getEntries().map((e) => e.duration)))
            .observe({ type: "longtask", buffered: true });
        const seen = new MutationObserver(() => {
            if (document.querySelectorAll("[data-testid=row]").length < 100) return;
            seen.disconnect();
            requestAnimationFrame(() => { window.shownAfter = performance.now(); });
        });
        seen.observe(document, { childList: true, subtree: true });"""})
    page.driver.refresh()
    page.wait_until(lambda: page.driver.execute_script("return window.shownAfter"), "100 rows")
    shown, tasks, files = page.driver.execute_script(
        "return [window.shownAfter, window.longTasks, performance.getEntriesByType('resource').length]")
    record_property("note", f"console: 100 rows shown {shown:.0f} ms after navigation, {files} requests,"
                            f" long tasks (over 50 ms): {[round(task) for task in tasks]}")
    assert len(page.names()) == 100
