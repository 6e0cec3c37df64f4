"""Starts geth's clef and answers what it asks its owner: everything is allowed but a transaction of 1 wei.

usage: clef_owner.py CLEF KEYSTORE PASSWORD FOLDER CHAIN_ID
Prints the socket of its external API.
"""

import ctypes
import json
import signal
import subprocess
import sys

clef, keystore, password, folder, chain = sys.argv[1:]


def end_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def answer(method, question):
    if method == "ui_approveListing":
        return {"accounts": question["accounts"]}
    if method == "ui_approveTx":
        transaction = question["transaction"]
        return {"transaction": transaction, "approved": int(transaction["value"], 16) != 1}
    if method == "ui_onInputRequired":
        return {"text": password}
    return {"approved": True}


words = [clef, "--keystore", keystore, "--configdir", folder, "--ipcpath", folder, "--chainid", chain]
words += ["--stdio-ui", "--suppress-bootwarn", "--nousb", "--lightkdf", "--auditlog", ""]
process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                           preexec_fn=end_with_parent)
for line in process.stdout:
    request = json.loads(line)
    if request["method"] == "ui_onSignerStartup":
        print(request["params"][0]["info"]["extapi_ipc"], flush=True)
    if "id" in request:
        result = answer(request["method"], request["params"][0])
        process.stdin.write(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}) + "\n")
        process.stdin.flush()
