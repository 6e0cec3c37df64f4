"""Named checks of a client, and the contract that they use."""

import json
import pathlib
import time
import traceback

LONGEST = 180
# Who is paid.
PAYEE = "0x" + "77" * 20
# What the node says to transactions that its chain does not know yet.
NO_LONDON = ["London is not scheduled on this chain", "send gasPrice"]
CONTRACT = json.loads(pathlib.Path(__file__).with_name("contract.json").read_text())


def run(*checks):
    """Runs them in order; prints as one line of JSON what went wrong with each, or "ok"."""
    seen = {}
    for check in checks:
        try:
            check()
            seen[check.__name__] = "ok"
        except Exception:
            seen[check.__name__] = traceback.format_exc(limit=-2)
    print(json.dumps(seen))


def wait(what, condition):
    """Waits until a condition gives something, and returns it."""
    deadline = time.monotonic() + LONGEST
    found = condition()
    while not found:
        assert time.monotonic() < deadline, f"not in {LONGEST} s: {what}"
        time.sleep(0.2)
        found = condition()
    return found


def refused(action, *words):
    """The action fails, and the error says all of these words."""
    try:
        action()
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        missing = [word for word in words if word not in said]
        assert not missing, f"{missing} is not in {said}"
        return
    raise AssertionError("it was not refused")
