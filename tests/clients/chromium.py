"""A real Chromium, spoken to over its DevTools protocol."""

import base64
import json
import pathlib
import shutil
import subprocess
import sys
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
