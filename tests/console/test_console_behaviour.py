"""Signing in, one's account, import, and how the console behaves: languages, keyboard, narrow and dark,
accessibility, states, the Content-Security-Policy."""

import json
import re

import pytest
from accessibility import check_accessibility
from browser import JavascriptException, Keys
from client import ISSUED
from service import ROOT, clock_s, wait_until

pytestmark = pytest.mark.usefixtures("browser")


def reload(page):
    page.driver.refresh()
    page.get("signout")


# ---- sign in ----


def test_sign_in_and_out(tab, user):
    tab.open()
    assert tab.focused() == "signin-token"
    tab.fill("signin-token", f"  {user.user.access_token} ")
    tab.click("signin-submit")
    tab.get("new-token")
    assert tab.get("who").text == user.user.name
    reload(tab)  # it stays signed in in this tab
    tab.click("signout")
    tab.get("signin-token")
    assert tab.driver.execute_script("return sessionStorage.length") == 0
    tab.driver.refresh()
    tab.get("signin-token")


def test_sign_in_with_a_user_id(tab, user, site):
    other = site.add_user()
    tab.open()
    tab.fill("signin-token", user.user.access_token)
    tab.fill("signin-user", "用户")
    tab.click("signin-submit")
    tab.wait_for("A user id is a number.")
    tab.fill("signin-user", str(other.id))
    tab.click("signin-submit")
    tab.wait_for("Authorization or New-Api-User is wrong")
    tab.fill("signin-user", str(user.user.id))
    tab.click("signin-submit")
    tab.get("new-token")


@pytest.mark.parametrize(("typed", "message"), [
    ("", "Enter an access token"), ("two words", "Enter an access token"), ("schlüssel", "Enter an access token"),
    ("wrong", "Authorization or New-Api-User is wrong"),
])
def test_what_is_no_access_token(tab, typed, message):
    tab.open()
    tab.fill("signin-token", typed)
    tab.click("signin-submit")
    tab.wait_for(message)
    assert tab.focused() == "signin-token"


def test_the_link_of_make_run(tab, user, site):
    """It signs in, is taken out of the address at once, and reaches no log."""
    tab.sign_in(user.user)
    assert tab.driver.current_url == tab.url
    length = tab.driver.execute_script("return history.length")
    tab.driver.execute_script("location.hash = 'account'")
    tab.get("balance")
    assert tab.driver.execute_script("return history.length") == length + 1
    tab.driver.back()
    tab.get("new-token")
    assert user.user.access_token not in (site.dir / "access.log").read_text()


@pytest.mark.parametrize("link", ["#user=1&token=a%0Ab", "#user=1&token=", "#user=%3Cb%3E&token=abc"])
def test_a_link_that_is_none(tab, link):
    tab.open(link)
    tab.get("signin-token")
    assert tab.driver.current_url == tab.url and tab.driver.execute_script("return sessionStorage.length") == 0


@pytest.mark.parametrize("address", ["constructor", "__proto__", "users", "audit?user_id=1", "none?x=%E0%A4%A"])
def test_an_address_that_is_no_page(page, address):
    page.driver.execute_script("location.hash = arguments[0]", address)
    page.get("empty")
    assert page.css("main h1")[0].text == "Tokens"


def test_one_can_sign_out_while_the_service_is_away(tab, user):
    """A page that could not be loaded offers it, as the frame has nothing yet."""
    tab.sign_in(user.user)
    tab.driver.execute_cdp_cmd("Network.enable", {})
    tab.driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["*/api/*"]})
    tab.driver.refresh()
    tab.get("failed")
    tab.click("signout")
    tab.get("signin-token")
    tab.driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})


def test_401_leads_back_with_the_servers_message(page, site, user):
    page.click("new-token")
    site.ctl("user", "rotate", user.user.id)
    page.click("field-unlimited")
    page.click("submit")
    page.get("signin-token")
    page.wait_for("Authorization or New-Api-User is wrong")
    assert page.css("dialog") == []


def test_a_disabled_user(page, site, user):
    site.ctl("user", "disable", user.user.id)
    page.driver.refresh()
    page.get("signin-token")
    page.wait_for("disabled")


# ---- account ----


def test_account(page, site, gateway, user):
    token = user.make(unlimited_quota=False, remain_quota=10**6)
    site.ctl("user", "set", user.user.id, "--quota", 2**60)
    gateway.consume(key=token["key"], amount=1234)
    page.click("nav-account")
    page.wait_until(lambda: page.get("balance").text == f"{2**60 - 1234:,}", "the balance")
    page.wait_for("1 of 1,000")
    page.wait_for("1,234 in 1 request over the last 30 days.")
    assert len(page.css("figure svg g")) == 30


def test_new_access_token(page, user, site):
    page.click("nav-account")
    page.click("rotate-self")
    page.wait_for("stops working at once")
    page.submit()
    token = page.get("secret").text
    ISSUED.add(token)
    page.click("cancel")
    page.wait_for("You have not copied it yet.")
    page.press(Keys.ESCAPE)
    wait_until(lambda: page.css("dialog") == [], "it is closed")
    page.click("nav-tokens")
    page.get("new-token")  # still signed in, with the new one
    assert user.list().status == 401


def test_a_new_access_token_stays_when_the_page_goes(page):
    page.click("nav-account")
    page.click("rotate-self")
    page.submit()
    ISSUED.add(page.get("secret").text)
    page.driver.back()
    page.get("new-token")
    assert page.get("secret").text
    page.css("dialog .primary")[0].click()
    page.click("cancel")
    assert page.css("dialog") == []


def test_older_keeps_the_focus(page, user):
    for n in range(55):
        user.make(name=f"t{n}")
    page.click("nav-history")
    page.wait_until(lambda: len(page.all("record")) == 50, "the newest")
    page.click("older")
    page.wait_until(lambda: len(page.all("record")) > 50, "all")
    focused = "const { tagName, className } = document.activeElement; return tagName + className"
    assert page.driver.execute_async_script(f"setTimeout(() => arguments[0]((() => {{ {focused} }})()), 100)") == "DIVplace"


def test_history_page(page, user):
    token = user.make(name="one")
    user.update({"id": token["id"], "status": 2}, "?status_only=true")
    page.click("nav-history")
    page.wait_until(lambda: len(page.all("record")) == 3, "two changes, and the user's creation")
    page.choose("filter-action", "token.status")
    page.wait_until(lambda: len(page.all("record")) == 1, "one of them")
    page.fill("filter-token_id", "999999999")
    page.get("empty")


# ---- import ----


CSV = '''name,remain_quota,unlimited_quota,expired_time,model_limits,note
alpha,9007199254740993,,never,"gpt-4o,o3",ignored
"beta, ""b""",,true,2100-01-01T00:00:00Z,,
'''


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_import_csv(page, user, newline):
    page.click("nav-import")
    script = "const area = arguments[0]; area.value = arguments[1]; area.dispatchEvent(new Event('input'))"
    page.driver.execute_script(script, page.get("import-text"), "\ufeff" + CSV.replace("\n", newline))
    page.wait_for("2 tokens, ready to be created.")
    page.wait_for("Not known, therefore ignored: note")
    page.click("import-submit")
    assert len(page.wait_until(lambda: page.all("secret"), "the keys")) == 2
    page.click("cancel")
    beta, alpha = user.list().data["items"]
    assert (alpha["name"], alpha["remain_quota"], alpha["model_limits"]) == ("alpha", 2**53 + 1, "gpt-4o,o3")
    assert (beta["name"], beta["unlimited_quota"], beta["expired_time"]) == ('beta, "b"', True, 4102444800)
    assert page.get("import-text").get_attribute("value") == ""


def test_import_checks_before_it_sends(page, user):
    page.click("nav-import")
    page.fill("import-text", "name,remain_quota\n" + "x" * 31 + ",1\ngood,2\nbad,2.5\nnone,\n")
    page.wait_for("3 of 4 rows must be corrected. Nothing has been sent.")
    page.wait_for("name: too long")
    page.wait_for("remain_quota: no whole number")
    page.wait_for("neither remain_quota nor unlimited_quota")
    assert page.all("import-submit") == []
    page.fill("import-text", "[{")
    page.wait_for("This is no valid JSON.")
    assert user.list().data["total"] == 0


def put(page, text):
    script = "const area = arguments[0]; area.value = arguments[1]; area.dispatchEvent(new Event('input'))"
    page.driver.execute_script(script, page.get("import-text"), text)


def test_equal_rows_are_tokens_of_their_own(page, user):
    """In two requests of one import, and in one more import."""
    page.click("nav-import")
    for times, total in ((1, 200), (2, 400)):
        put(page, json.dumps([{"name": "same", "remain_quota": 1}] * 200))
        page.click("import-submit")
        page.wait_until(lambda: len(page.all("secret")) == 200, "the keys")
        page.click("cancel")
        assert user.list().data["total"] == total, times


def test_import_loses_no_limit(page, user):
    page.click("nav-import")
    put(page, json.dumps([{"remain_quota": 1, "expired_time": "7 days"}, {"remain_quota": 1, "allow_ips": " , "}]))
    page.wait_for("2 of 2 rows must be corrected.")
    put(page, json.dumps([
        {"remain_quota": 1, "models": "my model,b", "subnet": "10.0.0.0/8"},
        {"remain_quota": 1, "model_limits_enabled": True, "model_limits": ""},
    ]))
    page.click("import-submit")
    page.get("secret")
    nothing, some = user.list().data["items"]
    assert (some["model_limits"], some["model_limits_enabled"], some["allow_ips"]) == ("my model,b", True, "10.0.0.0/8")
    assert (nothing["model_limits"], nothing["model_limits_enabled"]) == ("", True)


def test_import_json_file(page, user, tmp_path):
    rows = [{"name": f"n{i}", "remain_quota": i} for i in range(101)]
    file = tmp_path / "tokens.json"
    file.write_text(json.dumps(rows))
    page.click("nav-import")
    page.get("import-file").send_keys(str(file))
    page.click("import-submit")
    wait_until(lambda: len(page.all("secret")) == 101, "the keys")
    assert user.list().data["total"] == 101


def test_an_export_can_be_imported(page, user):
    user.make(name="'=x", unlimited_quota=False, remain_quota=5, expired_time=4102444800, model_limits=["a", "b"])
    user.make(name="second")
    reload(page)
    page.click("select-all")
    page.click("batch-export")
    text = page.download("tokens.csv")
    page.click("nav-import")
    script = "const area = arguments[0]; area.value = arguments[1]; area.dispatchEvent(new Event('input'))"
    page.driver.execute_script(script, page.get("import-text"), text)
    page.click("import-submit")
    page.get("secret")
    items = user.list().data["items"]
    own = [{name: value for name, value in item.items() if name not in ("id", "key", "created_time", "accessed_time")}
           for item in items]
    assert own[:2] == own[3:1:-1] or sorted(map(str, own[:2])) == sorted(map(str, own[2:]))


# ---- a user without rights, and administrators' pages on the public server ----


def test_a_user_without_rights(page):
    assert page.all("nav-users") == [] and page.all("nav-audit") == []
    page.driver.execute_script("location.hash = 'users'")
    page.get("new-token")  # the page of tokens instead
    page.driver.execute_script("location.hash = 'tokens?owner=1'")
    page.get("failed")


def test_administrators_pages_on_the_public_server(tab, root):
    tab.sign_in(root)
    tab.click("nav-users")
    tab.wait_for("Pages of administrators work on the internal address")


# ---- languages ----


def words(page):
    return page.driver.execute_async_script("import('./words.js').then((module) => arguments[0](module.words))")


def test_all_languages_have_the_same_words(page):
    languages = words(page)
    english = languages.pop("en")
    assert languages
    for name, others in languages.items():
        assert sorted(others) == sorted(english), name
        for word, text in others.items():
            wanted = set(re.findall(r"\{\w+\}", english[word])) - {"{message}"}
            assert wanted <= set(re.findall(r"\{\w+\}", text)) | {"{n}", "{names}"}, (name, word)
            assert text or not english[word], (name, word)


def test_every_word_is_used_and_every_used_word_is_there(page):
    """Words stand in the files as texts, or are joined from a beginning and a name."""
    source = "".join(path.read_text() for path in (ROOT / "console").glob("*.js") if path.name != "words.js")
    english = words(page)["en"]
    texts = set(re.findall(r"""["'`]([\w.*]+)["'`]""", source))
    beginnings = tuple(re.findall(r"`(\w+_)\$\{", source))
    ends = tuple(re.findall(r"\}(_\w+)`", source))
    unused = [word for word in english if word not in texts | {"tag", "name"}
              and not word.startswith(beginnings) and not word.endswith(ends)]
    assert unused == []
    assert {word for word in re.findall(r'\bt\(\s*"([\w.*]+)"', source)} <= set(english)


def test_the_language_of_the_browser_and_the_persons_choice(page, user):
    user.make(name="词")
    page.driver.execute_cdp_cmd("Network.setUserAgentOverride", {"userAgent": "test", "acceptLanguage": "zh-CN,en"})
    reload(page)
    page.wait_for("新建令牌")
    assert page.css("html")[0].get_attribute("lang") == "zh-CN"
    page.wait_for("共 1 项")
    page.click("lang")
    page.wait_for("New token")
    assert page.focused() == "lang"
    assert page.css("html")[0].get_attribute("lang") == "en"
    reload(page)
    page.wait_for("New token")


def test_chinese_dialogs_and_errors(page, user):
    token = user.make(name="旧", expired_time=1)
    user.update({"id": token["id"], "status": 2}, "?status_only=true")
    page.click("lang")
    page.wait_for("新建令牌")
    page.click("new-token")
    page.wait_for("可用模型")
    page.fill("field-quota", "x")
    page.click("submit")
    page.wait_for("请输入整数额度")
    page.press(Keys.ESCAPE)
    page.click_in(token, "toggle")
    page.toast("令牌已过期，无法启用。")


def test_every_action_of_the_log_has_words(page):
    source = "".join(path.read_text() for path in (ROOT / "store").glob("*.c"))
    actions = set(re.findall(r'"((?:token|user|group|model|gateway|secret)\.[a-z]+)"', source))
    assert {"group.grant", "gateway.create", "token.reveal", "model.delete"} <= actions
    for name, known in words(page).items():
        assert [action for action in actions if f"action_{action}" not in known] == [], name


# ---- keyboard ----


def tab_to(page, testid, limit=60):
    for _ in range(limit):
        if page.focused() == testid:
            return
        page.press(Keys.TAB)
    raise AssertionError(f"{testid} is not reached by Tab")


def test_by_keyboard_only(tab, user):
    """Signs in, creates, finds, edits, disables and deletes a token."""
    tab.open()
    tab.get("signin-token")
    tab.press(user.user.access_token, Keys.ENTER)
    tab.get("new-token")
    tab_to(tab, "new-token")
    tab.press(Keys.ENTER)
    tab.get("field-name")
    tab.press("typed")
    tab_to(tab, "field-unlimited")
    tab.press(Keys.SPACE)
    tab.press(Keys.ENTER)
    tab.get("secret")
    tab.press(Keys.ESCAPE)
    tab.wait_for_names(["typed"])
    assert tab.focused() == "new-token"
    tab.press("/")
    assert tab.focused() == "search"
    tab.press("typ", Keys.ENTER)
    tab_to(tab, "toggle")
    tab.press(Keys.SPACE)
    tab.toast("“typed” is disabled.")
    assert tab.focused() == "toggle"
    tab_to(tab, "edit")
    tab.press(Keys.ENTER)
    tab.get("field-name")
    tab.press(Keys.ESCAPE)
    wait_until(lambda: tab.css("dialog") == [], "the dialog is closed")
    assert tab.focused() == "edit"
    tab_to(tab, "delete")
    tab.press(Keys.ENTER)
    tab.get("submit")
    tab_to(tab, "submit")
    tab.press(Keys.ENTER)
    tab.get("empty")
    assert tab.focused() == "total"  # the row is gone: its list has the focus


def test_the_menu_by_keyboard(page, user):
    token = user.make()
    reload(page)
    tab_to(page, "delete")
    page.press(Keys.TAB)
    page.press(Keys.ENTER)
    page.get("history", page.row(token))
    page.press(Keys.ESCAPE)
    wait_until(lambda: page.all("history", page.row(token)) == [], "the menu is closed")
    page.press(Keys.ENTER)
    page.get("history", page.row(token))


def test_slash_is_a_letter_in_a_field(page):
    page.click("new-token")
    page.get("field-name").send_keys("a/b")
    assert page.get("field-name").get_attribute("value") == "a/b"


# ---- narrow, dark, print ----


def everything(user):
    user.make(name="long " * 6, unlimited_quota=False, remain_quota=2**63 - 1, model_limits=["m" * 60, "b"],
              allow_ips="2001:db8:1111:2222:3333:4444:5555:6666", expired_time=clock_s() + 3600, rpm_limit=100)
    user.make(name="off", group="vip")
    gone = user.make(name="gone", expired_time=1)
    return gone


BEYOND = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.mark.parametrize("width", [320, 400, 759, 761, 1024, 1360])
def test_nothing_is_wider_than_the_page(page, user, width):
    everything(user)
    page.emulate(width=width)
    reload(page)
    wait_until(page.names, "the list")
    for address in ("tokens", "account", "history", "import"):
        page.driver.execute_script("location.hash = arguments[0]", address)
        page.get(f"nav-{address}")
        wait_until(lambda: page.css("main h1"), "the page")
        if width < 1024 and width > 760 and address in ("tokens", "history"):
            continue  # the table itself may be scrolled sideways
        assert page.driver.execute_script(BEYOND) <= 0
    page.fill("import-text", "name,remain_quota,expired_time\n" + "y" * 40 + ",1x,soon\n")
    page.get("import-row")
    assert page.driver.execute_script(BEYOND) <= 0


def test_cards_below_760(page, user):
    token = everything(user)
    page.emulate(width=759)
    reload(page)
    row = page.row(token)
    label = "return getComputedStyle(arguments[0].querySelector('td.expires'), '::before').content"
    assert page.driver.execute_script(label, row) == '"Expires"'
    assert page.driver.execute_script("return getComputedStyle(arguments[0]).display", row) == "block"
    page.click_in(token, "edit")
    page.press(Keys.ESCAPE)
    page.emulate(width=761)
    assert page.driver.execute_script("return getComputedStyle(arguments[0]).display", row) == "table-row"
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    page.emulate_print = page.driver.execute_script("return getComputedStyle(arguments[0]).display", row)
    assert page.emulate_print == "table-row"


# ---- accessibility ----


@pytest.mark.parametrize(("width", "scheme"), [(1360, "light"), (400, "dark")])
def test_accessibility(page, user, width, scheme):
    token = everything(user)
    page.emulate(width=width, scheme=scheme)
    reload(page)
    row = page.row(token)
    check_accessibility(page)
    page.click("select-row", row)
    check_accessibility(page)
    for opener in ("new-token", "edit", "rotate", "delete"):
        page.get(opener, None if opener == "new-token" else page.row(token)).click()
        for summary in page.css("dialog summary"):
            summary.click()
        check_accessibility(page)
        page.press(Keys.ESCAPE)
    for address in ("account", "history", "import"):
        page.click(f"nav-{address}")
        wait_until(lambda: page.css("main h1"), "the page")
        check_accessibility(page)
    page.click("signout")
    page.get("signin-token")
    check_accessibility(page)


# ---- states ----


def test_no_tokens_yet(page):
    assert "No tokens yet" in page.get("empty").text
    page.click("new-token")
    page.press(Keys.ESCAPE)


def answer(page, status, headers, times, path="api/token"):
    """The next requests to a path get this answer instead of the service's."""
    page.driver.execute_script("""
        const [status, headers, times, path] = arguments;
        const fetch = window.fetch;
        let left = times;
        window.answered = 0;
        window.fetch = async (url, options) => {
            if (!String(url).includes(path) || left-- <= 0) return fetch(url, options);
            window.answered++;
            const code = { 429: "too_many_requests", 503: "unavailable" }[status] ?? "unknown";
            const body = JSON.stringify({ success: false, message: "Service is temporarily unavailable", code });
            return new Response(body, { status: status === 504 ? 503 : status, headers });
        };""", status, headers, times, path)


@pytest.mark.parametrize("status", [429, 503])
def test_waits_for_retry_after_and_says_so(page, user, status):
    token = user.make(name="late")
    reload(page)
    answer(page, status, {"Retry-After": "1"}, 2)
    page.click_in(token, "toggle")
    page.wait_for("The service is busy. Trying again in 1 s.")
    page.toast("“late” is disabled.")
    assert page.driver.execute_script("return window.answered") == 2
    assert page.all("notice") == []


def test_what_is_left_while_it_waits_is_not_done(page, user):
    token = user.make(name="spared")
    reload(page)
    answer(page, 503, {"Retry-After": "2"}, 1)
    page.click_in(token, "delete")
    page.click("submit")
    page.wait_for("Trying again in")
    page.click("cancel")
    page.toast("Nothing was changed.")
    page.driver.execute_async_script("setTimeout(arguments[0], 2500)")
    assert user.get(token["id"]).status == 200 and page.focused() == "delete"


def test_a_page_that_comes_late_leaves_the_next_one_alone(page, user):
    user.make(name="there")
    page.driver.execute_script("""
        const fetch = window.fetch;
        window.fetch = async (url, options) => {
            if (String(url).endsWith("user/self")) await new Promise((done) => setTimeout(done, 1000));
            return fetch(url, options);
        };
        location.hash = "account";
        setTimeout(() => { location.hash = "tokens"; }, 50);""")
    page.driver.execute_async_script("setTimeout(arguments[0], 1500)")
    page.wait_for_names(["there"])


def test_the_language_may_be_changed_while_the_service_is_away(tab, user):
    tab.sign_in(user.user)
    tab.driver.execute_cdp_cmd("Network.enable", {})
    tab.driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["*/api/*"]})
    tab.driver.refresh()
    tab.get("failed")
    tab.click("lang")
    tab.wait_for("服务没有响应")
    tab.driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})
    tab.click("retry")
    tab.get("new-token")
    tab.click("lang")


def test_an_unknown_outcome_is_not_repeated(page, user):
    token = user.make(name="odd", unlimited_quota=False, remain_quota=5)
    reload(page)
    answer(page, 504, {"Retry-After": "1"}, 1)
    page.click_in(token, "edit")
    page.fill("field-quota", "7")
    page.click("submit")
    page.wait_for("It is not known whether this was done.")
    assert page.driver.execute_script("return window.answered") == 1
    assert user.get(token["id"]).data["remain_quota"] == 5


def test_a_long_retry_after_is_told(page):
    answer(page, 429, {"Retry-After": "3600"}, 1)
    page.click("order")
    page.wait_for("Too many requests. Wait a little.")
    page.click("retry")
    page.get("empty")


def test_offline(page, user):
    token = user.make(name="far")
    reload(page)
    page.row(token)
    network = {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    page.driver.execute_cdp_cmd("Network.enable", {})
    page.driver.execute_cdp_cmd("Network.emulateNetworkConditions", network)
    page.wait_for("You are offline.")
    page.click_in(token, "toggle")
    page.toast("The service does not answer.")
    page.click("order")
    assert "The service does not answer." in page.get("failed").text
    page.driver.execute_cdp_cmd("Network.emulateNetworkConditions", {**network, "offline": False})
    page.wait_for_names(["far"])  # it asks again by itself
    assert page.all("notice") == []


def test_an_answer_that_is_not_the_services(page):
    page.driver.execute_script("window.fetch = async () => new Response('<html>proxy</html>', {status: 502})")
    page.click("order")
    page.wait_for("The answer is not the service's: HTTP 502")


def test_an_older_answer_does_not_replace_a_newer_one(page, user):
    user.make(name="slow")
    user.make(name="fast")
    reload(page)
    page.driver.execute_script("""
        const fetch = window.fetch;
        window.fetch = async (url, options) => {
            const response = await fetch(url, options);
            if (String(options.body).includes("slow")) await new Promise((done) => { window.release = done; });
            return response;
        };""")
    page.fill("search", "slow" + Keys.ENTER)
    wait_until(lambda: page.driver.execute_script("return Boolean(window.release)"), "the first is asked")
    page.fill("search", "fast" + Keys.ENTER)
    page.wait_for_names(["fast"])
    page.driver.execute_script("window.release()")
    page.driver.execute_async_script("setTimeout(arguments[0], 100)")
    assert page.names() == ["fast"]


# ---- the Content-Security-Policy ----


@pytest.mark.parametrize("script", [
    "document.body.innerHTML = '<b>x</b>'",
    "document.body.insertAdjacentHTML('beforeend', '<i>')",
    "document.createElement('script').text = '1'",
    "trustedTypes.createPolicy('any', {})",
])
def test_no_string_becomes_markup(tab, script):
    tab.open()
    with pytest.raises(JavascriptException):
        tab.driver.execute_script(script)
    tab.driver.get_log("browser")  # of the violation


def test_nothing_is_fetched_from_elsewhere(page):
    names = page.driver.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    origin = page.url.removesuffix("console/")
    assert names and [name for name in names if not name.startswith(origin)] == []
