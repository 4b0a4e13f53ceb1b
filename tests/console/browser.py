"""A headless Chromium, used as a person does: what can be seen is looked for by its data-testid, clicked
and typed into. All waits poll; their time-out only ends a test that hangs."""

import shutil
import tempfile
from pathlib import Path

from service import wait_until

try:
    from selenium import webdriver
    from selenium.common.exceptions import JavascriptException, StaleElementReferenceException, WebDriverException
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import Select
except ImportError:
    webdriver = By = Keys = Select = JavascriptException = StaleElementReferenceException = WebDriverException = None

PROGRAMS = {name: shutil.which(name) for name in ("chromium", "chromedriver")}

# Why there is no browser, or None.
MISSING = "no Chromium: make deps installs chromium, chromium-driver and python3-selenium where Debian has them"
if webdriver and all(PROGRAMS.values()):
    MISSING = None

FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
--disable-component-update --disable-sync --window-size=1360,1000 --accept-lang=en-US""".split()


class Browser:
    """One browser with a profile of its own, and its downloads."""

    def __enter__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="tk", dir="/tmp"))
        self.downloads = self.folder / "downloads"
        options = webdriver.ChromeOptions()
        options.binary_location = PROGRAMS["chromium"]
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        options.add_experimental_option("prefs", {
            "download.default_directory": str(self.downloads),
            "intl.accept_languages": "en-US",
        })
        for flag in [*FLAGS, f"--user-data-dir={self.folder / 'profile'}"]:
            options.add_argument(flag)
        log = f"--log-path={self.folder / 'driver.log'}"  # log_path is gone from newer Selenium
        service = webdriver.chrome.service.Service(PROGRAMS["chromedriver"], service_args=[log])
        try:
            self.driver = webdriver.Chrome(service=service, options=options)
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        self.driver.set_script_timeout(300)  # axe-core on a busy machine
        return self

    def __exit__(self, *_):
        self.driver.quit()
        shutil.rmtree(self.folder, ignore_errors=True)

    def new_tab(self):
        """A tab with neither session nor choices of the one before, which is closed."""
        before = self.driver.current_window_handle
        self.driver.switch_to.new_window("tab")
        kept = self.driver.current_window_handle
        self.driver.switch_to.window(before)
        self.driver.close()
        self.driver.switch_to.window(kept)
        self.driver.get_log("browser")


class Page:
    """The console of a site, in a tab."""

    def __init__(self, browser, port):
        self.browser, self.driver = browser, browser.driver
        self.url = f"http://127.0.0.1:{port}/console/"
        self.driver.get(self.url + "icon.svg")
        self.driver.execute_script("localStorage.clear(); sessionStorage.clear()")

    # ---- looking ----

    def all(self, testid, within=None):
        found = (within or self.driver).find_elements(By.CSS_SELECTOR, f'[data-testid="{testid}"]')
        return [element for element in found if is_shown(element)]

    def get(self, testid, within=None):
        """The one that is shown; waits for it."""
        return self.wait_until(lambda: self.all(testid, within), f"{testid} is shown")[0]

    def css(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self):
        return self.driver.find_element(By.TAG_NAME, "body").text

    def wait_for(self, text):
        self.wait_until(lambda: text in self.text(), f"{text!r} is shown")

    def wait_until(self, condition, what):
        def holds():
            try:
                return condition()
            except StaleElementReferenceException:
                return None  # drawn anew meanwhile

        try:
            return wait_until(holds, what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n\nThe page:\n{self.text()[:2000]}") from None

    def names(self):
        """Of the tokens in the list, in its order."""
        script = "return [...document.querySelectorAll('[data-testid=row] td.name .main')].map(e => e.textContent)"
        return self.driver.execute_script(script)

    def wait_for_names(self, names):
        self.wait_until(lambda: self.names() == names, f"the list is {names}")

    def row(self, token):
        """Of a token, or of a token's id."""
        token_id = token["id"] if isinstance(token, dict) else token
        selector = f'[data-testid="row"][data-token-id="{token_id}"]'
        return self.wait_until(lambda: self.css(selector), f"row {token_id} is shown")[0]

    def focused(self):
        """The data-testid of what has the focus."""
        return self.driver.switch_to.active_element.get_attribute("data-testid")

    # ---- doing ----

    def open(self, address=""):
        self.driver.get(self.url + address)
        return self

    def sign_in(self, user, address=""):
        """By the link that `make run` prints."""
        self.driver.get("about:blank")
        self.open(f"#user={user.id}&token={user.access_token}")
        self.get("signout")
        if address:
            self.driver.execute_script("location.hash = arguments[0]", address)
        return self

    def click(self, testid, within=None):
        self.get(testid, within).click()

    def click_in(self, token, testid):
        """A button of a token's row; those of its menu too."""
        if testid not in ("key-show", "key-copy", "toggle", "edit", "rotate", "delete", "select-row"):
            self.row(token).find_element(By.CSS_SELECTOR, "[popovertarget]").click()
        self.click(testid, self.row(token))

    def fill(self, testid, text):
        field = self.get(testid)
        field.clear()
        field.send_keys(text)

    def choose(self, testid, value):
        Select(self.get(testid)).select_by_value(value)

    def press(self, *keys):
        webdriver.ActionChains(self.driver).send_keys(*keys).perform()

    def submit(self):
        """Submits the dialog, and waits until it is closed."""
        dialog = self.wait_until(lambda: self.css("dialog[open]"), "a dialog is open")[-1]
        self.click("submit", dialog)
        self.wait_until(lambda: not is_there(dialog), "the dialog is closed")

    def toast(self, text):
        self.wait_until(lambda: text in self.get("toast").text, f"the toast says {text!r}")

    def clipboard(self):
        """What was copied; pasted into a field, as a person would."""
        self.driver.execute_script("""
            const area = document.createElement("textarea");
            area.id = "paste";
            (document.querySelector("dialog[open]") ?? document.body).append(area);
            area.focus();""")
        webdriver.ActionChains(self.driver).key_down(Keys.CONTROL).send_keys("v").key_up(Keys.CONTROL).perform()
        return self.driver.execute_script("""
            const area = document.querySelector("#paste");
            area.remove();
            return area.value;""")

    def download(self, name):
        path = self.browser.downloads / name
        wait_until(path.exists, f"{name} is saved")
        text = path.read_text("utf-8")
        path.unlink()
        return text

    # ---- how it looks ----

    def emulate(self, width=1360, height=1000, scheme="light"):
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)

    def check_log(self):
        """No violation of the Content-Security-Policy, and no error of a script."""
        entries = self.driver.get_log("browser")
        bad = [entry for entry in entries if entry["level"] == "SEVERE" and entry["source"] != "network"]
        bad += [entry for entry in entries if "Content Security Policy" in entry["message"]]
        assert not bad, bad


def is_shown(element):
    try:
        return element.is_displayed()
    except StaleElementReferenceException:
        return False


def is_there(element):
    try:
        element.is_enabled()
        return True
    except (StaleElementReferenceException, WebDriverException):
        return False
