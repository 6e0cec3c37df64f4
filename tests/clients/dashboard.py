"""Looks at a dashboard with a real Chromium, over its DevTools protocol.

usage: dashboard.py URL FOLDER

Writes pictures into FOLDER: light, dark, a phone, a block's details. Prints what it saw as one line of
JSON; then waits for a line on its input, by when the dashboard is dead, and prints what the page says
of that.
"""

import base64
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request

from websockets.sync.client import connect

TIME_MAX = 60
SIZES = {"desk": (1400, 2000, 1, False), "phone": (390, 3600, 2, True)}


class Browser:
    """One page of a Chromium."""

    def __init__(self, folder):
        program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        if program is None:
            sys.exit("chromium is missing: run tests/setup")
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"]
        flags += ["--remote-debugging-port=0", f"--user-data-dir={folder}", "about:blank"]
        self.process = subprocess.Popen([program, *flags], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        told = pathlib.Path(folder, "DevToolsActivePort")
        deadline = time.monotonic() + TIME_MAX
        while not (told.exists() and told.read_text().count("\n")):
            if time.monotonic() > deadline or self.process.poll() is not None:
                sys.exit("chromium does not start")
            time.sleep(0.1)
        port = told.read_text().split()[0]
        pages = json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list"))
        page = next(page for page in pages if page["type"] == "page")
        self.socket = connect(page["webSocketDebuggerUrl"], max_size=None)
        self.number = 0
        self.trouble = []
        self.hosts = set()
        for domain in ["Page", "Runtime", "Log", "Network", "Accessibility"]:
            self.call(f"{domain}.enable")

    def call(self, method, **params):
        self.number += 1
        self.socket.send(json.dumps({"id": self.number, "method": method, "params": params}))
        while True:
            said = json.loads(self.socket.recv(timeout=TIME_MAX))
            if said.get("id") == self.number:
                if "error" in said:
                    raise RuntimeError(f"{method}: {said['error']}")
                return said["result"]
            self.note(said)

    def note(self, event):
        params = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            self.trouble.append(params["exceptionDetails"].get("exception", {}).get("description", "?"))
        if event.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.trouble.append(params["entry"]["text"])
        if event.get("method") == "Network.requestWillBeSent":
            self.hosts.add(params["request"]["url"].split("/")[2])

    def value(self, expression):
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait(self, expression):
        deadline = time.monotonic() + TIME_MAX
        while not self.value(f"!!({expression})"):
            if time.monotonic() > deadline:
                text = self.value("document.body.innerText")
                sys.exit(f"not in {TIME_MAX} s: {expression}\n{text}\n{self.trouble}")
            time.sleep(0.1)

    def size(self, name):
        width, height, scale, mobile = SIZES[name]
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=mobile)

    def scheme(self, name):
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def picture(self, path):
        # Two frames: one draws what changed, the other shows it.
        self.value("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")
        data = self.call("Page.captureScreenshot", format="png")["data"]
        path.write_bytes(base64.b64decode(data))

    def press(self, key, code):
        for kind in ["keyDown", "keyUp"]:
            text = "\r" if key == "Enter" and kind == "keyDown" else None
            more = {"text": text} if text else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **more)

    def nameless(self):
        """Roles of what can be used and has no name for a screen reader."""
        nodes = self.call("Accessibility.getFullAXTree")["nodes"]
        of = lambda node, field: node.get(field, {}).get("value", "")
        roles = {"button", "link", "textbox", "searchbox", "image", "img", "table", "dialog", "progressbar"}
        return [of(node, "role") for node in nodes if not node.get("ignored") and of(node, "role") in roles and not of(node, "name")]


def look(browser, url, folder):
    browser.size("desk")
    browser.scheme("light")
    browser.call("Page.navigate", url=url)
    browser.wait("document.getElementById('connection')?.textContent === 'live'")
    browser.wait("document.querySelectorAll('#rows tr').length > 0 && document.querySelector('#tree .block.best')")
    browser.wait("document.querySelector('#plot-time svg')")
    browser.picture(folder / "light.png")
    # New rows must come without a reload: the page is marked, and a reload would lose the mark.
    browser.value("window.marked = true")
    seen = {"rows": browser.value("[...document.querySelectorAll('#rows th')].map((cell) => cell.textContent)")}
    seen["cards"] = browser.value("[...document.querySelectorAll('.card')].map((card) => card.innerText)")
    best = browser.value("document.querySelector('#card-best dd').textContent")
    browser.wait(f"document.querySelector('#card-best dd').textContent !== {json.dumps(best)}")
    seen["marked"] = browser.value("window.marked")
    browser.scheme("dark")
    browser.picture(folder / "dark.png")
    seen["nameless"] = browser.nameless()
    # By keyboard: a block of the tree has the focus, Enter shows it, Escape closes it.
    browser.value("[...document.querySelectorAll('#tree .block.best')].at(-1).focus()")
    browser.press("Enter", 13)
    browser.wait("document.getElementById('details').open && document.querySelector('#details-body tbody tr')")
    seen["told"] = browser.value("[...document.querySelectorAll('#details-body tbody tr')].map((row) => row.innerText)")
    browser.picture(folder / "details.png")
    browser.press("Escape", 27)
    browser.wait("!document.getElementById('details').open")
    browser.scheme("light")
    browser.size("phone")
    browser.wait("document.querySelector('#plot-time svg').clientWidth < 390")
    browser.picture(folder / "phone.png")
    seen["overflow"] = browser.value("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    seen["images"] = browser.value("document.querySelectorAll('main img, main script').length")
    seen["hosts"] = sorted(browser.hosts)
    seen["trouble"] = browser.trouble
    return seen


def main():
    url, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(profile)
        try:
            print(json.dumps(look(browser, url, folder)), flush=True)
            if sys.stdin.readline():
                browser.wait("document.getElementById('banners').innerText")
                said = browser.value("document.getElementById('banners').innerText")
                browser.size("desk")
                browser.picture(folder / "dead.png")
                print(json.dumps(said), flush=True)
        finally:
            browser.process.kill()
            browser.process.wait()


main()
