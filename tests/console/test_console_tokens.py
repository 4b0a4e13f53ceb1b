"""The page of tokens: list, find, one row, several rows, create, edit; as a person does it."""

import csv
import io
import time

import pytest
from browser import By, Keys
from client import key_checksum
from service import clock_s, wait_until

pytestmark = pytest.mark.usefixtures("browser")

DAY_S = 86400


def cell(page, token, column):
    return page.row(token).find_element(By.CSS_SELECTOR, f"td.{column}").text


def reload(page):
    page.driver.refresh()
    page.get("total")


# ---- list ----


def test_a_row_shows_all(page, user):
    token = user.make(
        name="Everything", unlimited_quota=False, remain_quota=750, model_limits=["gpt-4o", "o3*", "x"],
        allow_ips="10.0.0.0/8", expired_time=clock_s() + 40 * DAY_S, rpm_limit=60, tpm_limit=9000,
        max_parallel_requests=3, refill_amount=1000, refill_interval="day",
    )
    reload(page)
    assert cell(page, token, "name").splitlines() == ["Everything", f"#{token['id']} · default"]
    assert cell(page, token, "status") == "Enabled"
    key = token["key"]
    assert cell(page, token, "key") == f"{key[:7]}**********{key[-4:]}"
    assert cell(page, token, "quota") == "250 / 1,000"
    limits = cell(page, token, "limits").splitlines()
    assert limits == ["gpt-4o, o3* and 1 more", "10.0.0.0/8", "60/min · 9,000 units/min · 3 parallel", "1,000 each day"]
    assert cell(page, token, "expires") == "in 40 days"
    assert cell(page, token, "last_used") == "never"
    bar = page.row(token).find_element(By.CSS_SELECTOR, "svg.bar")
    assert bar.get_attribute("aria-label") == "25 % used"


@pytest.mark.parametrize(("fields", "chips"), [
    ({}, "Enabled"),
    ({"unlimited_quota": False, "remain_quota": 0}, "Exhausted"),
    ({"expired_time": 1}, "Expired"),
    ({"expired_time": clock_s() + DAY_S - 600}, "Expires soon"),
    ({"expired_time": clock_s() + 2 * DAY_S}, "Enabled"),
    ({"expired_time": 2**63 - 1}, "Enabled"),
    ({"unlimited_quota": False, "remain_quota": 9, "refill_amount": 100, "refill_interval": "month"}, "Low"),
    ({"unlimited_quota": False, "remain_quota": 10, "refill_amount": 100, "refill_interval": "month"}, "Enabled"),
])
def test_chips(page, user, fields, chips):
    token = user.make(**fields)
    reload(page)
    assert cell(page, token, "status") == chips


def test_an_unlimited_token_and_one_without_a_name(page, user):
    token = user.make(name="")
    reload(page)
    assert cell(page, token, "name").splitlines()[0] == "(no name)"
    assert cell(page, token, "quota").splitlines() == ["Unlimited", "0 used"]


def test_markup_is_text(page, user):
    name = "<img src=x onerror=alert(1)>"
    token = user.make(name=name, group="<b>", model_limits=["<script>"])
    reload(page)
    page.wait_for_names([name])
    assert "<script>" in cell(page, token, "limits") and page.css("td img, td script, td b:not(.x) b") == []
    page.click_in(token, "delete")
    page.wait_for(name)
    page.press(Keys.ESCAPE)


# ---- find ----


def test_search_by_name(page, user):
    user.make_many(3)
    token = user.make(name="Nightly batch")
    reload(page)
    page.press("/")
    assert page.focused() == "search"
    page.press("NIGHT")
    page.wait_for_names(["Nightly batch"])
    assert page.get("total").text == "1 in total"
    assert "NIGHT" in page.driver.current_url  # a reload keeps it
    reload(page)
    page.wait_for_names([token["name"]])
    page.get("search").clear()
    page.wait_for_names(["Nightly batch", "3", "2", "1"])


def test_search_by_key_keeps_it_out_of_addresses(page, site, user):
    wanted, _ = user.make(name="wanted"), user.make(name="other")
    reload(page)
    for text in (wanted["key"], wanted["key"][3:], wanted["key"][:9]):
        page.fill("search", text + Keys.ENTER)
        page.wait_for_names(["wanted"])
        assert text not in page.driver.current_url
    page.fill("search", "sk-" + "x" * 42 + key_checksum("sk-" + "x" * 42))
    page.get("empty")
    page.click("clear-filters")
    page.wait_for_names(["other", "wanted"])
    assert wanted["key"][3:] not in (site.dir / "access.log").read_text()


def test_filters(page, user):
    user.make(name="on", group="vip")
    off = user.make(name="off")
    user.update({"id": off["id"], "status": 2}, "?status_only=true")
    user.make(name="gone", expired_time=1)
    reload(page)
    for status, names in (("1", ["on"]), ("2", ["off"]), ("3", ["gone"]), ("4", []), ("", ["gone", "off", "on"])):
        page.choose("filter-status", status)
        page.wait_for_names(names)
    page.open("#tokens?group=vip")
    reload(page)
    page.wait_for_names(["on"])


@pytest.mark.parametrize(("sort", "names"), [
    ("id", ["b", "a", "c"]),
    ("name", ["a", "b", "c"]),
    ("expired_time", ["c", "a", "b"]),
    ("remain_quota", ["a", "c", "b"]),
])
def test_order_by_the_server(page, user, sort, names):
    later = clock_s() + DAY_S
    for name, quota, expires in (("b", 30, later + 3), ("a", 10, later + 2), ("c", 20, later + 1)):
        user.create({"name": name, "remain_quota": quota, "expired_time": expires})
    reload(page)
    page.choose("sort", sort)
    page.click("order")
    page.wait_for_names(names)
    page.click("order")
    page.wait_for_names(names[::-1])


def test_order_by_a_heading(page, user):
    for name in "bac":
        user.make(name=name)
    reload(page)
    page.click("sort-name")
    page.wait_for_names(list("abc"))
    assert page.css("th[aria-sort=ascending]")[0].text.startswith("Name")
    assert page.focused() == "sort-name"
    page.click("sort-name")
    page.wait_for_names(list("cba"))


def test_pages(page, user):
    user.make_many(25)
    reload(page)
    assert page.get("total").text == "25 in total"
    page.wait_for_names([str(n) for n in range(25, 5, -1)])
    page.click("page-next")
    page.wait_for_names([str(n) for n in range(5, 0, -1)])
    assert page.focused() == "page-next"
    page.click("page-next")  # there is no more
    page.click("page-previous")
    page.wait_for_names([str(n) for n in range(25, 5, -1)])
    page.choose("page-size", "10")
    page.wait_for_names([str(n) for n in range(25, 15, -1)])
    reload(page)
    page.wait_for_names([str(n) for n in range(25, 15, -1)])  # the choice is kept


def test_the_last_one_of_a_page_is_deleted(page, user):
    user.make_many(11)
    reload(page)
    page.choose("page-size", "10")
    page.click("page-next")
    page.wait_for_names(["1"])
    page.click("delete")
    page.submit()
    page.wait_for_names([str(n) for n in range(11, 1, -1)])


# ---- a row ----


def test_show_and_copy_a_key(page, user):
    token = user.make()
    reload(page)
    page.click_in(token, "key-show")
    page.wait_for(token["key"])
    page.click_in(token, "key-show")
    page.wait_until(lambda: token["key"] not in page.text(), "it is masked again")
    page.click_in(token, "key-copy")
    page.toast("Key copied.")
    assert page.clipboard() == token["key"]


@pytest.mark.parametrize(("form", "parts"), [
    ("curl", ["curl http://127.0.0.1:{port}/v1/chat/completions", "Bearer {key}", "gpt-9'\\''"]),
    ("environment", ["export OPENAI_API_KEY={key}\n", "export OPENAI_BASE_URL=http://127.0.0.1:{port}/v1"]),
    ("python", ["from openai import OpenAI", 'api_key="{key}"', 'base_url="http://127.0.0.1:{port}/v1"']),
    ("javascript", ['import OpenAI from "openai"', 'apiKey: "{key}"']),
])
def test_copy_lines(page, site, user, form, parts):
    token = user.make(model_limits=["o1*", "gpt-9'"])
    reload(page)
    page.click_in(token, f"copy-{form}")
    page.toast("Copied.")
    copied = page.clipboard()
    for part in parts:
        assert part.format(key=token["key"], port=site.port) in copied


def test_disable_and_enable(page, user):
    token = user.make(name="switched")
    reload(page)
    for status, chip, checked in ((2, "Disabled", "false"), (1, "Enabled", "true")):
        page.click_in(token, "toggle")
        page.wait_until(lambda: cell(page, token, "status") == chip, f"it is {chip}")
        assert user.get(token["id"]).data["status"] == status
        assert page.focused() == "toggle"
        assert page.get("toggle").get_attribute("aria-checked") == checked
    page.toast("“switched” is enabled.")


def test_a_token_that_cannot_be_enabled_says_why(page, user):
    token = user.make(expired_time=1)
    user.update({"id": token["id"], "status": 2}, "?status_only=true")
    reload(page)
    page.click_in(token, "toggle")
    page.toast("The token has expired and cannot be enabled.")


@pytest.mark.parametrize(("grace", "is_good"), [("0", False), ("900", True), ("3600", True), ("86400", True)])
def test_rotate(page, user, grace, is_good):
    token = user.make(name="turning")
    reload(page)
    page.click_in(token, "rotate")
    page.choose("field-grace", grace)
    page.submit()
    key = page.get("secret").text
    assert key != token["key"] and user.verify(key).status == 204
    assert (user.verify(token["key"]).status == 204) == is_good
    page.click("cancel")
    page.wait_until(lambda: cell(page, token, "key").endswith(key[-4:]), "the row has the new key")
    assert page.focused() == "rotate"


def test_a_toast_is_not_in_the_way(page, user):
    user.make_many(10)
    page.emulate(width=780, height=580)
    reload(page)
    page.click("toggle")
    page.toast("is disabled.")
    script = "const { x, y } = arguments[0].getBoundingClientRect(); return document.elementFromPoint(x + 20, y + 10).dataset.testid"
    assert page.driver.execute_script(script, page.get("toast")) != "toast"


def test_delete_asks(page, user):
    token = user.make(name="dear")
    reload(page)
    page.click_in(token, "delete")
    page.wait_for("dear (#")
    page.click("cancel")
    assert user.get(token["id"]).status == 200
    page.click_in(token, "delete")
    page.submit()
    page.get("empty")
    assert user.get(token["id"]).status == 404


def test_usage(page, gateway, user):
    token = user.make(unlimited_quota=False, remain_quota=2**62)
    gateway.consume(key=token["key"], amount=2**60 + 1)
    reload(page)
    page.click_in(token, "usage")
    page.wait_for(f"{2**60 + 1:,} in 1 request over the last 30 days.")
    bars = page.css("figure svg g")
    assert len(bars) == 30
    page.css("dialog summary")[0].click()
    first = page.css("dialog tbody tr")[0].text
    assert f"{2**60 + 1:,}" in first


def test_history(page, user):
    token = user.make(name="before")
    user.update({"id": token["id"], "name": "after"})
    reload(page)
    page.click_in(token, "history")
    page.wait_until(lambda: len(page.all("record")) == 2, "two changes")
    newest, oldest = page.all("record")
    assert "Token changed" in newest.text and "before after" in newest.text
    assert "Token created" in oldest.text
    assert token["key"][3:] not in page.text()


# ---- several rows ----


def select(page, *tokens):
    for token in tokens:
        page.click_in(token, "select-row")


def test_batch_status(page, user):
    one, two, three, gone = (user.make(name=name) for name in ("1", "2", "3", "gone"))
    user.update({"id": gone["id"], "expired_time": 1})
    reload(page)
    select(page, one, three, gone)
    page.click("batch-disable")
    page.toast("3 disabled.")
    assert [user.get(token["id"]).data["status"] for token in (one, two, three)] == [2, 1, 2]
    page.click("batch-enable")  # the selection is kept
    page.toast("2 enabled. 1 can't be enabled: expired or exhausted.")
    assert user.get(one["id"]).data["status"] == 1


def test_batch_delete_names_what_goes(page, user):
    tokens = user.make_many(12)
    reload(page)
    page.click("select-all")
    page.wait_for("12 selected")
    select(page, tokens[0])
    page.wait_for("11 selected")
    page.click("batch-delete")
    page.wait_for("Delete 11 tokens?")
    page.wait_for("and 1 more")
    page.submit()
    page.wait_for_names(["1"])
    assert "selected" not in page.text()
    page.toast("11 deleted.")


def test_batch_copy(page, user):
    one, _, three = user.make_many(3)
    reload(page)
    select(page, one, three)
    page.click("batch-copy")
    page.toast("2 keys copied.")
    assert sorted(page.clipboard().split()) == sorted([one["key"], three["key"]])


def test_export_csv(page, user):
    names = ["=1+1", "+1", "-1", "@SUM(A1)", "＝1+1", "'=1", 'a "b", c', "plain"]
    for name in names:
        user.make(name=name, unlimited_quota=False, remain_quota=2**53 + 1)
    reload(page)
    page.click("select-all")
    page.click("batch-export")
    text = page.download("tokens.csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    harmless = ["plain", 'a "b", c', "''=1", "'＝1+1", "'@SUM(A1)", "'-1", "'+1", "'=1+1"]
    assert [row["name"] for row in rows] == harmless
    assert {row["remain_quota"] for row in rows} == {str(2**53 + 1)} and {row["expired_time"] for row in rows} == {"never"}
    assert not [value for row in rows for value in row.values() if value[:1] in ("=", "+", "-", "@")]
    assert "sk-" not in text


# ---- create ----


def created(user):
    return user.list("?size=100").data["items"]


def test_create_one(page, user):
    page.click("new-token")
    page.get("field-name")
    assert page.focused() == "field-name"
    page.fill("field-name", "First")
    page.fill("field-quota", "1,000")
    page.submit()
    (token,) = created(user)
    assert (token["name"], token["remain_quota"], token["unlimited_quota"]) == ("First", 1000, False)
    assert (token["expired_time"], token["model_limits_enabled"], token["group"]) == (-1, False, "default")
    page.wait_for_names(["First"])  # behind the dialog
    key = page.get("secret").text
    assert user.show_key(token["id"]).data["key"] == key
    assert page.driver.execute_script("return !dispatchEvent(new Event('beforeunload', {cancelable: true}))")
    page.css("dialog .primary")[0].click()
    page.toast("Copied.")
    assert page.driver.execute_script("return dispatchEvent(new Event('beforeunload', {cancelable: true}))")
    page.click("cancel")
    page.wait_for_names(["First"])
    assert page.focused() == "new-token"


def test_a_name_is_enough(page, user):
    """Without a quota it is TOKEN_QUOTA_PER_UNIT, as the dialog says, or what a refill gives."""
    page.click("new-token")
    page.fill("field-name", "Bare")
    page.wait_for("Empty: 500,000.")
    page.submit()
    page.toast("Token created.")
    page.click("cancel")
    page.click("new-token")
    page.fill("field-name", "Refilled")
    page.css("dialog summary")[0].click()
    page.fill("field-refill_amount", "70")
    page.choose("field-refill_interval", "day")
    page.submit()
    assert [(token["name"], token["remain_quota"]) for token in created(user)] == [("Refilled", 70), ("Bare", 500_000)]
    assert user.verify(created(user)[1]["key"]).status == 204


def test_create_with_everything(page, user):
    page.click("new-token")
    page.fill("field-name", "All")
    page.click("field-unlimited")
    page.choose("field-expires", "30d")
    page.fill("field-models", "gpt-4*, o3\nclaude")
    page.fill("field-ips", "10.0.0.0/8\n2001:db8::1")
    page.css("dialog summary")[0].click()
    for name, value in (("rpm_limit", "60"), ("tpm_limit", "5000"), ("max_parallel_requests", "4"),
                        ("refill_amount", "700"), ("refill_day", "15")):
        page.fill(f"field-{name}", value)
    page.choose("field-refill_interval", "month")
    before = clock_s()
    page.submit()
    (token,) = created(user)
    assert token["unlimited_quota"] is True
    assert before + 30 * DAY_S <= token["expired_time"] <= clock_s() + 30 * DAY_S + 1
    assert (token["model_limits"], token["model_limits_enabled"]) == ("gpt-4*,o3,claude", True)
    assert token["allow_ips"] == "10.0.0.0/8,2001:db8::1"
    limits = [token[name] for name in ("rpm_limit", "tpm_limit", "max_parallel_requests")]
    assert limits == [60, 5000, 4]
    assert (token["refill_interval"], token["refill_amount"], token["refill_day"]) == ("month", 700, 15)


def test_create_several_at_once(page, user):
    page.click("new-token")
    page.fill("field-name", "worker")
    page.fill("field-count", "100")
    page.fill("field-quota", "5")
    page.submit()
    assert len(page.all("secret")) == 100
    keys = {token["name"]: token["key"] for token in created(user)}
    assert sorted(keys) == sorted(f"worker-{n}" for n in range(1, 101))
    page.css("dialog .primary")[0].click()
    page.toast("Copied.")
    assert page.clipboard().split() == [keys[f"worker-{n}"] for n in range(1, 101)]


def test_what_is_wrong_is_told_beside_the_field(page, user):
    page.click("new-token")
    page.fill("field-count", "101")
    page.click("submit")
    page.wait_for("A whole number from 1 to 100.")
    assert page.focused() == "field-count"
    page.fill("field-count", "1")
    page.fill("field-quota", "1.5")
    page.click("submit")
    page.wait_for("Enter a whole number of units, or choose unlimited.")
    assert page.focused() == "field-quota"
    page.fill("field-quota", "9223372036854775808")
    page.fill("field-ips", "nonsense")
    page.click("submit")
    page.wait_for("Invalid parameters")  # the service's word
    page.click("cancel")
    assert created(user) == []


def test_all_or_none(page, user):
    page.click("new-token")
    page.fill("field-name", "n" * 29)  # with a number longer than 30
    page.fill("field-count", "10")
    page.click("field-unlimited")
    page.click("submit")
    page.wait_for("Token name is too long")
    assert created(user) == []


def lose_an_answer(page):
    """Of the next request, which is done."""
    page.driver.execute_script("""
        const fetch = window.fetch;
        window.fetch = async (...request) => {
            window.fetch = fetch;
            await fetch(...request);
            throw new TypeError("connection lost");
        };""")


def test_a_lost_answer_creates_nothing_twice(page, user):
    """The button is pressed again a minute later, after the network came back."""
    page.click("new-token")
    page.fill("field-name", "once")
    page.click("field-unlimited")
    page.choose("field-expires", "30d")
    lose_an_answer(page)
    page.click("submit")
    page.wait_for("The service does not answer.")
    page.driver.execute_script("const now = Date.now; Date.now = () => now() + 60000")
    page.submit()
    page.get("secret")
    assert [token["name"] for token in created(user)] == ["once"]


def test_a_dialog_that_is_closed_too_early(page, user):
    """The token is created all the same, so its key is shown."""
    page.driver.execute_script("""
        const fetch = window.fetch;
        window.fetch = async (url, options) => {
            if (options.method === "POST") await new Promise((done) => { window.release = done; });
            return fetch(url, options);
        };""")
    page.click("new-token")
    page.fill("field-name", "hasty")
    page.click("submit")
    page.press(Keys.ESCAPE)
    wait_until(lambda: page.css("dialog") == [], "the dialog is closed")
    page.driver.execute_script("window.release()")
    page.get("secret")
    page.click("cancel")
    page.wait_for_names(["hasty"])


# ---- edit ----


def sent(page):
    """The bodies that are sent from now on."""
    page.driver.execute_script("""
        window.sent = [];
        const fetch = window.fetch;
        window.fetch = (url, options) => { window.sent.push(options.body ?? null); return fetch(url, options); };""")
    return lambda: page.driver.execute_script("return window.sent")


def test_edit_sends_what_changed(page, user):
    token = user.make(name="old", unlimited_quota=False, remain_quota=2**62, model_limits=["a", "b"])
    reload(page)
    bodies = sent(page)
    page.click_in(token, "edit")
    page.submit()  # nothing is changed, nothing is sent
    assert bodies() == []
    page.click_in(token, "edit")
    page.fill("field-name", "new")
    page.submit()
    assert bodies() == [f'{{"id":{token["id"]},"name":"new"}}']
    page.wait_for_names(["new"])
    assert page.focused() == "edit"


def test_what_is_spent_meanwhile_is_not_given_back(page, gateway, user):
    token = user.make(name="busy", unlimited_quota=False, remain_quota=1000)
    reload(page)
    page.click_in(token, "edit")
    page.fill("field-quota", "1500")
    page.wait_for("Adds 500.")
    gateway.consume(key=token["key"], amount=300)
    page.submit()
    left = user.get(token["id"]).data
    assert (left["remain_quota"], left["used_quota"]) == (1200, 300)
    page.wait_until(lambda: cell(page, token, "quota") == "300 / 1,500", "the row shows it")


def test_a_quota_can_be_taken_away(page, gateway, user):
    token = user.make(unlimited_quota=False, remain_quota=1000)
    reload(page)
    page.click_in(token, "edit")
    page.fill("field-quota", "100")
    page.wait_for("Takes 900 away.")
    gateway.consume(key=token["key"], amount=300)
    page.click("submit")
    page.wait_for("less quota left")
    page.click("cancel")
    assert user.get(token["id"]).data["remain_quota"] == 700


def add_quota_without_an_answer(page, user):
    """500 to a token's 1,000: done, but the answer is lost; the dialog is still there."""
    token = user.make(unlimited_quota=False, remain_quota=1000)
    reload(page)
    page.click_in(token, "edit")
    page.fill("field-quota", "1500")
    lose_an_answer(page)
    page.click("submit")
    page.wait_for("The service does not answer.")
    return token


def test_a_lost_answer_adds_nothing_twice(page, gateway, user):
    token = add_quota_without_an_answer(page, user)
    gateway.consume(key=token["key"], amount=300)
    page.submit()
    left = user.get(token["id"]).data
    assert (left["remain_quota"], left["used_quota"]) == (1200, 300)
    page.wait_until(lambda: cell(page, token, "quota") == "300 / 1,500", "the row shows it")


def test_what_was_perhaps_done_is_looked_at(page, user):
    token = add_quota_without_an_answer(page, user)
    page.click("cancel")
    page.wait_until(lambda: cell(page, token, "quota") == "0 / 1,500", "the row shows it")
    assert page.focused() == "edit"


def test_blanks_in_a_models_name(page, user):
    token = user.make(model_limits=["my model", "b"])
    reload(page)
    page.click_in(token, "edit")
    page.get("field-models").send_keys("\nnew one，c")
    page.submit()
    assert user.get(token["id"]).data["model_limits"] == "my model,b,new one,c"


def test_unlimited_and_back(page, user):
    token = user.make(unlimited_quota=False, remain_quota=1000)
    reload(page)
    page.click_in(token, "edit")
    page.click("field-unlimited")
    page.submit()
    assert user.get(token["id"]).data["unlimited_quota"] is True
    page.click_in(token, "edit")
    page.fill("field-quota", "1100")
    page.submit()
    changed = user.get(token["id"]).data
    assert (changed["unlimited_quota"], changed["remain_quota"]) == (False, 1100)


def test_edit_the_lists(page, user):
    token = user.make(model_limits=["a", "b"], allow_ips="10.0.0.1")
    reload(page)
    page.click_in(token, "edit")
    assert page.get("field-models").get_attribute("value").split() == ["a", "b"]
    page.fill("field-models", "")
    page.fill("field-ips", "")
    page.submit()
    changed = user.get(token["id"]).data
    assert (changed["model_limits_enabled"], changed["model_limits"], changed["allow_ips"]) == (False, "", "")


def test_edit_the_expiry(page, user):
    expires = clock_s() + 5 * DAY_S
    token = user.make(expired_time=expires)
    reload(page)
    page.click_in(token, "edit")
    page.fill("field-name", "kept")
    page.submit()
    assert user.get(token["id"]).data["expired_time"] == expires  # to the second
    page.click_in(token, "edit")
    page.choose("field-expires", "never")
    page.submit()
    assert user.get(token["id"]).data["expired_time"] == -1
    page.click_in(token, "edit")
    page.choose("field-expires", "time")
    page.click("submit")
    page.wait_for("Enter a date and a time.")
    at = time.strftime("%Y-%m-%dT%H:%M", time.localtime(expires))
    script = "const at = document.querySelector('[type=datetime-local]'); at.value = arguments[0]"
    page.driver.execute_script(script, at)
    page.submit()
    assert user.get(token["id"]).data["expired_time"] == expires // 60 * 60


@pytest.mark.parametrize("zone", ["UTC", "Asia/Shanghai", "America/New_York"])
def test_a_year_that_the_control_cannot_show_is_kept(page, user, zone):
    page.driver.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": zone})
    token = user.make(name="eternal", expired_time=2**62)
    reload(page)
    page.click_in(token, "edit")
    page.fill("field-name", "renamed")
    page.submit()
    changed = user.get(token["id"]).data
    assert (changed["name"], changed["expired_time"]) == ("renamed", 2**62)


def test_a_token_that_is_gone(page, user):
    token = user.make()
    reload(page)
    user.delete(token["id"])
    page.click_in(token, "toggle")
    page.toast("Token does not exist. It was perhaps deleted meanwhile.")


# ---- numbers ----


def test_numbers_beyond_2_53(page, user):
    """Shown, edited by one and sent back without losing a unit."""
    quota = 2**63 - 5
    token = user.make(unlimited_quota=False, remain_quota=quota)
    reload(page)
    assert cell(page, token, "quota") == f"0 / {quota:,}"
    page.click_in(token, "edit")
    assert page.get("field-quota").get_attribute("value") == str(quota)
    page.fill("field-quota", str(quota + 4))
    page.submit()
    assert user.get(token["id"]).data["remain_quota"] == 2**63 - 1
    page.click("new-token")
    page.fill("field-quota", "9007199254740993")
    page.submit()
    assert max(token["id"] for token in created(user)) and created(user)[0]["remain_quota"] == 2**53 + 1


def test_money(page, user):
    """TOKEN_QUOTA_PER_UNIT is 500,000."""
    token = user.make(unlimited_quota=False, remain_quota=2**53 + 1)
    user.make(name="cents", unlimited_quota=False, remain_quota=730001)
    reload(page)
    page.click("unit")
    page.wait_until(lambda: "$18,014,398,509.481986" in page.row(token).text, "it is shown as money")
    page.wait_for("$1.460002")
    page.click_in(token, "edit")
    assert page.get("field-quota").get_attribute("value") == "18014398509.481986"
    page.fill("field-quota", "2.50")
    page.wait_for("1,250,000 units")
    page.submit()
    assert user.get(token["id"]).data["remain_quota"] == 1_250_000
    page.click("unit")
    wait_until(lambda: "1,250,000" in page.row(token).text, "it is shown as units")
