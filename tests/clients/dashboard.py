"""Looks at a dashboard with a real Chromium, over its DevTools protocol.

usage: dashboard.py URL FOLDER

Writes pictures into FOLDER: light, dark, a phone, a block's details. Prints what it saw as one line of
JSON; then waits for a line on its input, by when the dashboard is dead, and prints what the page says
of that.
"""

import json
import pathlib
import sys
import tempfile

from chromium import Browser


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
