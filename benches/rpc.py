#!/usr/bin/env python3
"""JSON-RPC of Hematite beside real geth: core-geth's chain, `wrk -t1 -c16`, in turns; medians of several runs.

usage: rpc.py [--runs N] [--seconds N] [request ...]
Environment as for versus_geth.py; wrk must be there (Debian: apt-get install wrk). See benches/README.md.
"""
import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile

from versus_geth import GETH, HEMATITE, Node, core_geth_chain, run

PORTS = (18985, 18986)
SAMPLES = 500
# Shares of the mix, in hundredths.
MIX = {"blockNumber": 20, "getBalance": 20, "call": 25, "getTransactionReceipt": 15, "getTransactionByHash": 10,
       "estimateGas": 5, "getBlockByNumber, full": 5}
# Cycles through bodies that were written before, and prints what it measured as JSON.
SCRIPT = """
local bodies = {}
for line in io.lines(os.getenv("BODIES")) do bodies[#bodies + 1] = line end
local at = 0
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
request = function() at = at % #bodies + 1; return wrk.format(nil, "/", nil, bodies[at]) end
done = function(summary, latency)
  local errors = summary.errors
  print(string.format('{"requests":%d,"us":%d,"p50":%d,"p99":%d,"errors":%d}', summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), errors.status + errors.read + errors.timeout + errors.connect))
end
"""


def start(side, folder, genesis, chain):
    port = str(PORTS[side])
    if side == 0:
        run(HEMATITE, "--datadir", folder, "--fakepow", "--genesis", genesis, "import", chain)
        return Node([HEMATITE, "--datadir", folder, "--genesis", genesis, "--role", "tx", "--fakepow", "--nodiscover",
                     "--port", "0", "--ops.addr", "off", "--http", "--http.port", port, "--verbosity", "2"], PORTS[0])
    run(GETH, "--datadir", folder, "init", genesis)
    run(GETH, "--datadir", folder, "--fakepow", "--gcmode", "archive", "import", chain)
    return Node([GETH, "--datadir", folder, "--fakepow", "--gcmode", "archive", "--http", "--http.port", port,
                 "--nodiscover", "--maxpeers", "0", "--port", "0", "--ipcdisable", "--networkid", "1337",
                 "--rpc.allow-unprotected-txs", "--authrpc.port", "0", "--verbosity", "1"], PORTS[1])


def kinds(node):
    """Bodies by the name of what is asked, from a chain that both have."""
    random.seed(1)
    head = int(node.call("eth_blockNumber"), 16)
    numbers = [random.randrange(1, head) for _ in range(SAMPLES)]
    blocks = [node.call("eth_getBlockByNumber", hex(number), True) for number in numbers]
    transactions = random.sample([tx for block in blocks for tx in block["transactions"]], SAMPLES)
    calls = [{"from": tx["from"], "to": tx["to"], "value": "0x0"} for tx in transactions if tx["to"]]
    asked = {
        "blockNumber": [("eth_blockNumber", [])],
        "getBalance": [("eth_getBalance", [tx["from"], "latest"]) for tx in transactions],
        "call": [("eth_call", [call, "latest"]) for call in calls],
        "estimateGas": [("eth_estimateGas", [call]) for call in calls],
        "getTransactionByHash": [("eth_getTransactionByHash", [tx["hash"]]) for tx in transactions],
        "getTransactionReceipt": [("eth_getTransactionReceipt", [tx["hash"]]) for tx in transactions],
        "getBlockByNumber, full": [("eth_getBlockByNumber", [hex(number), True]) for number in numbers],
        "getLogs, 1 000 blocks, no match": [("eth_getLogs", [{"fromBlock": hex(head - 1000), "toBlock": hex(head),
                                                              "address": "0x" + "ab" * 20}])],
        "getLogs, 100 blocks, all": [("eth_getLogs", [{"fromBlock": hex(number), "toBlock": hex(number + 100)}])
                                     for number in range(1, head - 100, 50)],
    }
    bodies = {name: [json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
                     for method, params in requests] for name, requests in asked.items()}
    bodies["mix"] = [random.choice(bodies[name]) for name, share in MIX.items() for _ in range(10 * share)]
    random.shuffle(bodies["mix"])
    return bodies


def cpu(node):
    """Seconds of processor that a node has used."""
    with open(f"/proc/{node.process.pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def load(node, work, bodies, seconds):
    """Requests a second, microseconds of the node's processor for each, and latencies in ms."""
    with open(os.path.join(work, "bodies"), "w") as file:
        file.write("\n".join(bodies))
    script = os.path.join(work, "load.lua")
    with open(script, "w") as file:
        file.write(SCRIPT)
    before = cpu(node)
    out = subprocess.check_output(["wrk", "-t1", "-c16", f"-d{seconds}s", "-s", script, f"http://127.0.0.1:{node.port}"],
                                  env={**os.environ, "BODIES": os.path.join(work, "bodies")}, text=True)
    seen = json.loads(out.splitlines()[-1])
    assert seen["errors"] == 0 and seen["requests"] > 0, out
    return {"rate": seen["requests"] / seen["us"] * 1e6, "cpu": (cpu(node) - before) / seen["requests"] * 1e6,
            "p50": seen["p50"] / 1000, "p99": seen["p99"] / 1000}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("what", nargs="*")
    args = parser.parse_args()
    if not shutil.which("wrk"):
        sys.exit("rpc.py: wrk is missing; install it (Debian: apt-get install wrk)")
    work = tempfile.mkdtemp(prefix="hematite-rpc-")
    nodes = []
    try:
        genesis, chain = core_geth_chain()
        nodes = [start(side, os.path.join(work, str(side)), genesis, chain) for side in (0, 1)]
        bodies = kinds(nodes[1])
        unknown = set(args.what) - set(bodies)
        if unknown:
            sys.exit(f"rpc.py: {', '.join(unknown)}: none of {', '.join(bodies)}")
        print("| request | hematite req/s | geth req/s | faster by | CPU us/request | p50 ms | p99 ms |\n|---|---|---|---|---|---|---|")
        for name in args.what or bodies:
            seen = ([], [])
            for _ in range(args.runs):
                for side, node in enumerate(nodes):
                    seen[side].append(load(node, work, bodies[name], args.seconds))
            ours, theirs = ({key: statistics.median(run[key] for run in runs) for key in runs[0]} for runs in seen)
            pairs = " | ".join(f"{ours[key]:.3g}, geth {theirs[key]:.3g}" for key in ("cpu", "p50", "p99"))
            print(f"| {name} | {ours['rate']:.0f} | {theirs['rate']:.0f} | {ours['rate'] / theirs['rate']:.1f} x | {pairs} |",
                  flush=True)
        ours, theirs = (node.rss() for node in nodes)
        print(f"RSS afterwards: {ours:.0f} MiB, geth {theirs:.0f} MiB: {theirs / ours:.1f} x")
    finally:
        for node in nodes:
            node.stop()
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
