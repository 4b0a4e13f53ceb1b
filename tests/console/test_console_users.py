"""Administrators' pages, on the internal server: users, any user's tokens, whose key it is, the audit log; over
PostgreSQL where it is there."""

import pytest
from accessibility import check_accessibility
from browser import By, Keys
from client import ISSUED
from engines import ENGINES
from service import wait_until

pytestmark = pytest.mark.usefixtures("browser")

ENGINE = ENGINES[-1]


@pytest.fixture
def users(internal):
    internal.click("nav-users")
    internal.get("new-user")
    return internal


def find(page, name):
    """The row of a user."""
    page.fill("search", name + Keys.ENTER)

    def found():
        is_asked = f"keyword={name}" in page.driver.current_url and not page.css(".place[aria-busy]")
        return is_asked and [row for row in page.all("user-row") if name in row.text.splitlines()]

    return page.wait_until(found, f"{name} is found")[0]


def details(site, user_id):
    (shown,) = site.ctl("user", "show", user_id)
    return shown


def in_menu(row, page, testid):
    row.find_element(By.CSS_SELECTOR, "[popovertarget]").click()
    page.click(testid, row)


def test_list_and_search(users, site):
    user = site.add_user("zoe", group="vip")
    assert "vip" in find(users, "zoe").text
    assert users.get("total").text == "1 in total"
    users.fill("search", "")
    users.fill("filter-group", "vip" + Keys.ENTER)
    users.wait_until(lambda: [row.get_attribute("data-user-id") for row in users.all("user-row")] == [str(user.id)], "one")


def test_create_shows_the_access_token_once(users, site):
    users.click("new-user")
    users.fill("field-name", "created")
    users.fill("field-group", "vip")
    users.fill("field-quota", "9007199254740993")
    users.submit()
    token = users.get("secret").text
    ISSUED.add(token)
    users.click("cancel")
    users.wait_for("You have not copied it yet.")
    users.click("cancel")
    row = find(users, "created")
    assert f"{2**53 + 1:,}" in row.text and "vip" in row.text
    assert token not in users.text()
    users.click("signout")
    users.fill("signin-token", token)
    users.click("signin-submit")
    assert users.get("who").text == "created"


def test_edit(users, site):
    user = site.add_user("edited")
    row = find(users, "edited")
    users.click("user-edit", row)
    users.fill("field-name", "renamed")
    users.fill("field-group", "gold")
    users.fill("field-quota", "5000")
    users.css("dialog summary")[0].click()
    users.fill("field-max_tokens", "7")
    users.submit()
    row = find(users, "renamed")
    assert "gold" in row.text and "0 / 5,000" in row.text and "7 tokens" in row.text
    users.click("user-edit", row)
    users.fill("field-quota", "4000")
    users.wait_for("Takes 1,000 away.")
    users.submit()
    wait_until(lambda: "0 / 4,000" in find(users, "renamed").text, "the balance is less")
    assert site.http(user).list().status == 200


def test_disable_and_enable(users, site):
    user = site.add_user("switched")
    for status in (403, 200):
        users.click("user-toggle", find(users, "switched"))
        wait_until(lambda: site.http(user).list().status == status, f"it is {status}")
    users.toast("“switched” is enabled.")
    assert users.focused() == "user-toggle"


def test_delete_asks(users, site):
    user = site.add_user("doomed")
    users.click("user-delete", find(users, "doomed"))
    users.wait_for(f"doomed (#{user.id}) and all tokens")
    users.submit()
    users.wait_for("Nothing matches")
    assert site.http(user).list().status == 401


def test_role_and_access_token(users, site):
    user = site.add_user("rising")
    in_menu(find(users, "rising"), users, "user-role")
    users.submit()
    assert users.focused() == "more"
    wait_until(lambda: "Administrator" in find(users, "rising").text, "it is an administrator")
    in_menu(find(users, "rising"), users, "user-role")
    users.submit()
    wait_until(lambda: "Administrator" not in find(users, "rising").text, "it is a user")
    in_menu(find(users, "rising"), users, "user-rotate")
    users.submit()
    ISSUED.add(users.get("secret").text)
    assert site.http(user).list().status == 401


def test_what_is_refused_is_told(users, site):
    site.add_user("peer", role="root")
    users.click("user-delete", find(users, "peer"))
    users.click("submit")
    wait_until(lambda: [one for one in users.css("dialog .failure") if one.text], "the service's word")


def test_another_users_tokens(users, site):
    user = site.http(site.add_user("owner"))
    token = user.make(name="theirs", unlimited_quota=False, remain_quota=100)
    users.click("user-tokens", find(users, "owner"))
    users.wait_for("Tokens of owner")
    users.wait_for_names(["theirs"])
    for testid in ("key-show", "key-copy", "rotate", "new-token"):
        assert users.all(testid) == []
    assert token["key"][8:-4] not in users.driver.page_source
    users.click_in(token, "toggle")
    users.toast("“theirs” is disabled.")
    users.click_in(token, "edit")
    users.fill("field-quota", "250")
    users.submit()
    changed = user.get(token["id"]).data
    assert (changed["status"], changed["remain_quota"]) == (2, 250)
    users.click_in(token, "usage")
    users.wait_for("Not used in the last 30 days.")
    users.click("cancel")
    users.click_in(token, "history")
    users.wait_until(lambda: [one for one in users.all("record") if "administrator" in one.text], "who it was")
    users.click("cancel")
    users.click_in(token, "delete")
    users.submit()
    users.wait_for("This user has no tokens.")


def test_whose_key_is_it(users, site):
    user = site.http(site.add_user("keeper"))
    token = user.make(name="lost")
    users.click("find-key")
    users.fill("field-key", "sk-nobody")
    users.click("submit")
    wait_until(lambda: [one for one in users.css("dialog .failure") if one.text], "nobody's")
    users.fill("field-key", token["key"])
    users.click("submit")
    users.wait_until(lambda: f"lost (#{token['id']})" in users.get("found").text, "it is found")
    users.css("[data-testid=found] a")[0].click()
    users.wait_for("Tokens of keeper")
    users.wait_for_names(["lost"])


def test_audit_log(users, site):
    user = site.http(site.add_user("watched"))
    for n in range(55):
        user.make(name=f"t{n}")
    users.click("nav-audit")
    users.fill("filter-user_id", str(user.user.id) + Keys.ENTER)
    users.wait_until(lambda: len(users.all("record")) == 50, "the newest")
    users.click("older")
    users.wait_until(lambda: len(users.all("record")) == 56, "all, with the user's creation")
    users.choose("filter-action", "user.*")
    users.wait_until(lambda: len(users.all("record")) == 1, "the user's creation")
    assert "tokenctl" in users.all("record")[0].text


@pytest.mark.parametrize(("width", "scheme"), [(1360, "dark"), (390, "light")])
def test_accessibility(users, site, width, scheme):
    name = f"seen-{width}"
    site.add_user(name, group="vip")
    users.emulate(width=width, scheme=scheme)
    check_accessibility(users)
    for opener in ("new-user", "find-key", "user-edit", "user-delete"):
        users.click(opener, find(users, name) if opener.startswith("user-") else None)
        for summary in users.css("dialog summary"):
            summary.click()
        check_accessibility(users)
        users.press(Keys.ESCAPE)
    users.click("nav-audit")
    users.get("record")
    check_accessibility(users)
