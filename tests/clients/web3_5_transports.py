"""What a client of the book's time does over WebSocket and IPC, with web3.py 5.9.

usage: web3_5_transports.py WS_URL IPC_PATH
Prints what each transport said as one line of JSON.
"""

import json
import sys

from web3 import Web3

ws, ipc = sys.argv[1:]
seen = {}
for name, provider in [("ws", Web3.WebsocketProvider(ws)), ("ipc", Web3.IPCProvider(ipc))]:
    w3 = Web3(provider)
    assert w3.isConnected(), name
    blocks = w3.eth.filter("latest")
    subscription = provider.make_request("eth_subscribe", ["syncing"])["result"]
    # More than one message, either way.
    many = [provider.make_request("web3_sha3", ["0x" + "00" * size]) for size in (0, 100_000)]
    seen[name] = {
        "chain_id": w3.eth.chainId,
        "head": w3.eth.getBlock("latest").hash.hex(),
        "version": w3.clientVersion,
        "new": [entry.hex() for entry in blocks.get_new_entries()],
        "unsubscribed": provider.make_request("eth_unsubscribe", [subscription])["result"],
        "hashes": [answer["result"] for answer in many],
    }
print(json.dumps(seen))
