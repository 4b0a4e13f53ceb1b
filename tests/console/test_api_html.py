"""api.html: each example of each route, for curl, Python and JavaScript, is run against the service."""

import html
import json
import os
import re
import subprocess
from html.parser import HTMLParser

import contract
import pytest
from client import Gateway
from service import BUILD, INTERNAL_PATH

import browser as browsers

PAGE = (BUILD / "console/api.html").read_text("utf-8")
EXAMPLES = {
    (name, language): html.unescape(text)
    for name, language, text in re.findall(r'<pre data-example="(\w+)" data-language="(\w+)">(.*?)</pre>', PAGE, re.S)
}
NAMES = list(dict.fromkeys(name for name, _ in EXAMPLES))

PATHS = {operation["operationId"]: path for path, _, operation in contract.operations()}

# Of administrators, on the internal server, beside those of INTERNAL_PATH.
ADMINISTRATORS = re.compile(r"/api/(user/(?!self|models)|user/$|log/$)")

# What an example answers that is no success.
EXPECTED = {"verifyKey": ("204",)}


class World:
    """What the variables of the examples stand for; each example gets its own."""

    def __init__(self, site, root):
        self.site, self.root = site, root
        self.secret = site.add_gateway()

    def variables(self, name):
        site, path = self.site, PATHS[name]
        is_internal = INTERNAL_PATH.search(path) or ADMINISTRATORS.search(path)
        user = site.add_user()
        client = site.http(user)
        token = client.make(unlimited_quota=False, remain_quota=10**9)
        gateway = Gateway(site.send, self.secret)
        reservation = gateway.reserve(key=token["key"], amount=100).data["reservation"]
        is_administrators = ADMINISTRATORS.search(path) or path.endswith("/find")
        return {
            "URL": f"http://127.0.0.1:{site.internal_port if is_internal else site.port}",
            "ACCESS_TOKEN": (self.root if is_administrators else user).access_token,
            "GATEWAY_SECRET": self.secret,
            "KEY": token["key"],
            "ID": str(user.id if ADMINISTRATORS.search(path) else token["id"]),
            "RESERVATION": str(reservation),
            "NAME": f"name-of-{user.id}",
            "TRANSACTION": f"transaction-{user.id}",
        }


@pytest.fixture(scope="module")
def world(site, root):
    return World(site, root)


def check(name, status, body):
    operation = next(one for _, _, one in contract.operations() if one["operationId"] == name)
    assert status in EXPECTED.get(name, ("200",)), body
    assert status in operation["responses"]
    if status == "200":
        ((kind, media),) = contract.resolve(operation["responses"]["200"])["content"].items()
        contract.validate(media["schema"], json.loads(body) if kind.startswith("application/json") else body)


def run(command, variables):
    environment = {"PATH": os.environ["PATH"], "no_proxy": "*", **variables}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done
    return done.stdout


def test_each_route_has_an_example_in_each_language():
    operations = {one["operationId"] for _, method, one in contract.operations() if method != "options"}
    assert set(EXAMPLES) == {
        (name, language) for name in operations for language in ("curl", "python", "javascript")}


@pytest.mark.parametrize("name", NAMES)
def test_curl(world, name):
    command = EXAMPLES[name, "curl"].replace("curl", "curl -sS -w '\\n%{http_code}'", 1)
    output = run(["sh", "-c", command], world.variables(name))
    body, _, status = output.rpartition("\n")
    check(name, status, body)


@pytest.mark.parametrize("name", NAMES)
def test_python(world, name):
    status, _, body = run(["/usr/bin/python3", "-c", EXAMPLES[name, "python"]], world.variables(name)).partition(" ")
    check(name, status, body)


@pytest.mark.parametrize("name", NAMES)
def test_javascript(world, browser, name):
    """In a page of the same server, as others are not allowed (CORS)."""
    variables = world.variables(name)
    constants = "".join(
        f"const {camel(one)} = {value if one in ('ID', 'RESERVATION') else json.dumps(value)};" for one, value in variables.items())
    page = browsers.Page(browser, int(variables["URL"].rpartition(":")[2]))
    status, body = page.driver.execute_async_script(f"""
        const done = arguments[0];
        const console = {{ log: (...printed) => done(printed) }};
        (async () => {{ {constants}
            {EXAMPLES[name, "javascript"]}
        }})().catch((error) => done([0, String(error)]));""")
    check(name, str(status), body)


def camel(name):
    return re.sub("_(.)", lambda found: found[1].upper(), name.lower())


class Structure(HTMLParser):
    """Checks that elements are closed in order; collects links and ids."""

    VOID = {"meta", "link", "br"}

    def __init__(self):
        super().__init__()
        self.open, self.links, self.ids = [], [], []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.links += [attributes["href"]] if "href" in attributes else []
        self.ids += [attributes["id"]] if "id" in attributes else []
        assert tag != "script" and "style" not in attributes
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_page_is_whole_without_scripts():
    page = Structure()
    page.feed(PAGE)
    assert page.open == [] and len(set(page.ids)) == len(page.ids)
    for link in page.links:
        assert link[1:] in page.ids if link.startswith("#") else (BUILD / "console" / link).exists(), link


def test_looks(browser, site):
    browser.new_tab()
    page = browsers.Page(browser, site.port)
    for width in (400, 1360):
        page.emulate(width=width)
        page.open("api.html")
        wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert page.driver.execute_script(wide) <= 0
        assert page.css("main pre")
    page.check_log()
