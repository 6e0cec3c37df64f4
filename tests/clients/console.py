"""A person at a console: types on a terminal, and prints what was seen there as JSON.

Usage: console.py PROGRAM ARGUMENT... < SCRIPT, where the script is a JSON list of pairs: what to
wait for, and what to type then. The last line says how the program ended.
"""

import json
import os
import pty
import select
import sys
import time

LONGEST = 240


def main():
    steps = json.load(sys.stdin)
    child, terminal = pty.fork()
    if child == 0:
        os.environ["TERM"] = "xterm"
        os.execvp(sys.argv[1], sys.argv[1:])
    seen, at, deadline = "", 0, time.monotonic() + LONGEST
    is_open = True
    while is_open and time.monotonic() < deadline:
        while steps and (found := seen.find(steps[0][0], at)) >= 0:
            at = found + len(steps[0][0])
            os.write(terminal, steps.pop(0)[1].encode())
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            data = os.read(terminal, 65536)
        except OSError:
            data = b""
        is_open = bool(data)
        seen += data.decode(errors="replace")
    if is_open:
        os.kill(child, 9)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    print(json.dumps({"seen": seen, "code": code, "left": steps}))


main()
