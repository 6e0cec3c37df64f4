"""Looks at an explorer with a real Chromium, as somebody who reads would.

usage: explorer.py URL FOLDER TRANSACTION CONTRACT

Writes pictures into FOLDER. Prints what it saw as one line of JSON; then waits for a line on its input,
by when the node is dead, and prints what the page says of that.
"""

import json
import pathlib
import sys
import tempfile

from chromium import Browser


def read(browser, hash, words):
    """Goes to a page by its address, waits for words, and gives its text."""
    browser.value(f"location.hash = {json.dumps(hash)}")
    browser.wait(f"document.getElementById('view').innerText.includes({json.dumps(words)}) && document.getElementById('view').getAttribute('aria-busy') === 'false'")
    return browser.value("document.getElementById('view').innerText")


def find(browser, term):
    """Types into the search, presses Enter, and gives the address of the page that comes."""
    # A page that has just come takes the focus.
    browser.wait("document.activeElement?.id === 'view'")
    browser.value(f"document.getElementById('term').focus(); document.getElementById('term').value = {json.dumps(term)}")
    before = browser.value("location.hash")
    browser.press("Enter", 13)
    browser.wait(f"location.hash !== {json.dumps(before)} || !document.getElementById('term').checkValidity()")
    return browser.value("document.getElementById('term').validationMessage || location.hash")


def look(browser, url, folder, transaction, contract):
    seen = {}
    browser.size("desk")
    browser.scheme("light")
    browser.call("Page.navigate", url=url)
    browser.wait("document.querySelectorAll('#view tbody tr').length > 1")
    browser.picture(folder / "home.png")
    seen["home"] = browser.value("document.getElementById('view').innerText")
    seen["network"] = browser.value("document.getElementById('network').textContent")
    browser.value("window.marked = true")
    best = browser.value("document.querySelector('#view tbody tr').innerText")
    browser.wait(f"document.querySelector('#view tbody tr')?.innerText.split('\\t')[0] !== {json.dumps(best)}.split('\\t')[0]")
    seen["nameless"] = browser.nameless()
    seen["transaction"] = read(browser, f"#/tx/{transaction}", "Gas price")
    browser.picture(folder / "transaction.png")
    read(browser, f"#/address/{contract}", "Logs of the newest")
    browser.wait("document.querySelectorAll('#view section:last-child tbody tr').length > 0")
    browser.wait("/looked at/i.test(document.querySelector('#view [role=status]').textContent)")
    seen["contract"] = browser.value("document.getElementById('view').innerText")
    # By keyboard: the place of the storage is the contract's one field.
    browser.value("document.querySelector('#view form input').focus()")
    browser.press("Enter", 13)
    browser.wait("document.querySelector('#view form output').textContent.startsWith('0x')")
    browser.scheme("dark")
    browser.picture(folder / "contract.png")
    seen["genesis"] = read(browser, "#/block/0", "State root")
    seen["block"] = read(browser, "#/block/1", "Confirmations")
    browser.picture(folder / "block.png")
    seen["no_block"] = read(browser, "#/block/999999999", "No such block")
    seen["no_page"] = read(browser, "#/block/%3Cscript%3E", "No such page")
    seen["found"] = [find(browser, term) for term in ["1", transaction, contract, "what?"]]
    browser.scheme("light")
    browser.size("phone")
    for name in ["home", "block"]:
        read(browser, {"home": "#/", "block": "#/block/1"}[name], {"home": "Newest blocks", "block": "Confirmations"}[name])
        browser.picture(folder / f"phone-{name}.png")
        seen[f"overflow_{name}"] = browser.value("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    seen["marked"] = browser.value("window.marked")
    seen["hosts"] = sorted(browser.hosts)
    seen["trouble"] = browser.trouble
    return seen


def main():
    url, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(profile)
        try:
            print(json.dumps(look(browser, url, folder, *sys.argv[3:])), flush=True)
            if sys.stdin.readline():
                browser.wait("document.getElementById('banners').innerText")
                print(json.dumps(browser.value("document.getElementById('banners').innerText")), flush=True)
        finally:
            browser.process.kill()
            browser.process.wait()


main()
