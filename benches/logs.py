#!/usr/bin/env python3
"""Sparse log queries over a whole long chain: medians over one keep-alive connection.

usage: logs.py [BLOCKS [EVERY]]
Makes a chain of so many blocks (a million), of which every so manieth (1 000th) has a log, imports it and asks.
Environment as for versus_geth.py; MADE names a folder with such a chain that was kept. See benches/README.md.
"""
import json
import os
import shutil
import statistics
import sys
import tempfile
import time

from versus_geth import HEMATITE, MAKE_CHAIN, Node, disk, run

PORT = 18987
ASKED = 50


def main():
    blocks, every = (sys.argv[1:] + ["1000000", "1000"][len(sys.argv) - 1:])[:2]
    work = tempfile.mkdtemp(prefix="hematite-logs-")
    node = None
    try:
        made = os.environ.get("MADE") or os.path.join(work, "made")
        if not os.path.exists(os.path.join(made, "chain.rlp")):
            run(MAKE_CHAIN, blocks, made, every)
        genesis, folder = os.path.join(made, "genesis.json"), os.path.join(work, "node")
        common = [HEMATITE, "--datadir", folder, "--fakepow", "--genesis", genesis]
        took, peak = run(*common, "import", os.path.join(made, "chain.rlp"))
        print(f"import {took:.1f} s, peak RSS {peak:.0f} MiB, disk {disk(folder):.0f} MiB")
        node = Node([*common, "--role", "tx", "--nodiscover", "--port", "0", "--ops.addr", "off", "--http",
                     "--http.port", str(PORT), "--verbosity", "1"], PORT)
        head = int(node.call("eth_blockNumber"), 16)
        print(f"head {head}, exec to first answer {node.startup * 1000:.0f} ms")
        logs = node.call("eth_getLogs", {"fromBlock": "0x0", "toBlock": hex(min(head, 50 * int(every)))})
        queries = {"a topic of a third of the logs": {"topics": [logs[0]["topics"][0]]},
                   "one contract": {"address": logs[len(logs) // 2]["address"]},
                   "two topics": {"topics": [[log["topics"][0] for log in logs[:2]]]},
                   "no match": {"address": "0x" + "ab" * 20}}
        for name, query in queries.items():
            body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_getLogs",
                               "params": [{"fromBlock": "0x0", "toBlock": "latest", **query}]})
            took = []
            for _ in range(ASKED):
                started = time.monotonic()
                answer = node.post(body)
                took.append((time.monotonic() - started) * 1000)
            print(f"{name}: {len(answer['result'])} logs, first {took[0]:.1f} ms, median {statistics.median(took):.1f} ms, "
                  f"slowest {max(took[1:]):.1f} ms")
        print(f"RSS {node.rss():.0f} MiB")
    finally:
        if node:
            node.stop()
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
