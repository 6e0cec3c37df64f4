#!/usr/bin/env python3
"""How fast blocks of 200 transfers pass through 5 nodes, each in its own network namespace, from seal to
import; and the memory of a node with 50 peers.

usage: propagation.py [--blocks N] [line] [mesh] [peers]      (as root, for the namespaces)
Environment: HEMATITE_BIN. Needs the dataset of epoch 0, which the first run makes.
"""
import argparse
import datetime
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

from versus_geth import CACHE, HEMATITE, Node

PYTHON = f"{CACHE}/venv/web3-7/bin/python"
NODES = 5
TRANSFERS = 200
SENDERS = 20
STAMP = re.compile(r"\[(\d\d-\d\d\|\d\d:\d\d:\d\d\.\d\d\d)\]")


def keys():
    return ["0x" + f"{index + 1:02x}" * 32 for index in range(SENDERS)]


def helper(script, *args):
    return subprocess.check_output([PYTHON, "-c", script, *args], text=True).split()


def addresses():
    return helper("import sys\nfrom eth_account import Account\n"
                  "for key in sys.argv[1:]: print(Account.from_key(key).address)", *keys())


def signed(rounds):
    """Transfers: of each round, as many from every sender."""
    script = (
        "import sys\nfrom eth_account import Account\n"
        f"for n in range({rounds * TRANSFERS // SENDERS}):\n"
        " for key in sys.argv[1:]:\n"
        "  t=dict(nonce=n,to='0x'+'00'*19+'ff',value=1,gas=21000,gasPrice=10**9,chainId=27587)\n"
        "  print('0x'+Account.sign_transaction(t,key).raw_transaction.hex().removeprefix('0x'))\n")
    return helper(script, *keys())


def genesis(path):
    forks = {name: 0 for name in ("homesteadBlock", "eip150Block", "eip155Block", "eip158Block")}
    with open(path, "w") as file:
        json.dump({"config": {"chainId": 27587, **forks}, "difficulty": "0x400", "gasLimit": "0x8000000",
                   "alloc": {address: {"balance": "100000000000000000000"} for address in addresses()}}, file)


class Meshed(Node):
    def __init__(self, work, name, arguments, ip="127.0.0.1", http=8545, prefix=()):
        self.path = os.path.join(work, f"{name}.log")
        command = [*prefix, HEMATITE, "--datadir", os.path.join(work, name), "--networkid", "27587", "--nodiscover",
                   "--nat", f"extip:{ip}", "--ops.addr", "off", "--http", "--http.addr", ip, "--http.port", str(http),
                   "--http.api", "eth,net,admin,txpool", *arguments]
        with open(self.path, "w") as log:
            super().__init__(command, http, ip, log)

    def wait(self, condition, seconds, what):
        deadline = time.monotonic() + seconds
        while True:
            if condition():
                return
            if time.monotonic() > deadline or self.process.poll() is not None:
                sys.exit(f"not in {seconds} s: {what}; see {self.path}")
            time.sleep(0.02)

    def enode(self, ip):
        return re.sub(r"@[^:]*:", f"@{ip}:", self.call("admin_nodeInfo")["enode"].split("?")[0])

    def lines(self, words):
        """Hashes of blocks and the milliseconds of the log lines with these words."""
        found = {}
        with open(self.path) as log:
            for line in log:
                block = re.search(r"hash=(0x[0-9a-f]{64})", line)
                if words in line and block:
                    stamp = datetime.datetime.strptime("2000-" + STAMP.search(line).group(1), "%Y-%m-%d|%H:%M:%S.%f")
                    found.setdefault(block.group(1), stamp.timestamp() * 1000)
        return found


def namespaces(up):
    def ip(*words):
        subprocess.run(["ip", *words], check=up, stderr=None if up else subprocess.DEVNULL)
    if up:
        ip("link", "add", "hembr", "type", "bridge")
        ip("addr", "add", "10.77.0.254/24", "dev", "hembr")
        ip("link", "set", "hembr", "up")
    for index in range(NODES):
        space, inside, outside = f"hem{index}", f"hemi{index}", f"hemo{index}"
        if up:
            ip("netns", "add", space)
            ip("link", "add", outside, "type", "veth", "peer", "name", inside)
            ip("link", "set", inside, "netns", space)
            ip("link", "set", outside, "master", "hembr", "up")
            ip("-n", space, "addr", "add", f"10.77.0.{index + 1}/24", "dev", inside)
            ip("-n", space, "link", "set", inside, "up")
            ip("-n", space, "link", "set", "lo", "up")
        else:
            ip("netns", "del", space)
    if not up:
        ip("link", "del", "hembr")


def line(work, blocks):
    """Each node knows only the one before it, so that the last one is four hops from the miner."""
    propagation(work, blocks, lambda index: [index - 1])


def mesh(work, blocks):
    """Everybody knows everybody, as in a small network that discovers itself."""
    propagation(work, blocks, range)


def propagation(work, blocks, known):
    """The miner is given 200 transfers, finds them into a block, and so on. `known` says whom a node calls."""
    file = os.path.join(work, "genesis.json")
    genesis(file)
    transfers = signed(blocks)
    namespaces(False)
    namespaces(True)
    nodes = []
    try:
        for index in range(NODES):
            ip = f"10.77.0.{index + 1}"
            role = ["--role", "tx"] if index else ["--role", "miner", "--miner.threads", "1", "--miner.etherbase",
                                                   "0x" + "11" * 20, "--ethash.dagdir", os.path.join(CACHE, "dags")]
            nodes.append(Meshed(work, f"node-{index}", ["--genesis", file, *role], ip,
                                prefix=["ip", "netns", "exec", f"hem{index}"]))
        for index, node in enumerate(nodes):
            for other in known(index) if index else ():
                node.call("admin_addPeer", nodes[other].enode(f"10.77.0.{other + 1}"))
        nodes[-1].wait(lambda: int(nodes[-1].call("eth_blockNumber"), 16) > 2, 300, "blocks arrive")
        for first in range(0, len(transfers), TRANSFERS):
            batch = [{"jsonrpc": "2.0", "id": n, "method": "eth_sendRawTransaction", "params": [raw]}
                     for n, raw in enumerate(transfers[first:first + TRANSFERS])]
            answers = nodes[0].post(json.dumps(batch))
            last = answers[-1]["result"]
            nodes[-1].wait(lambda: nodes[-1].call("eth_getTransactionReceipt", last), 120, "the block is everywhere")
        sealed = nodes[0].lines("mined potential block")
        full = {}
        for block in sealed:
            full[block] = int(nodes[0].call("eth_getBlockTransactionCountByHash", block) or "0x0", 16)
        large = [block for block, count in full.items() if count >= TRANSFERS // 2]
        print(f"{len(sealed)} blocks sealed, {len(large)} of them with at least {TRANSFERS // 2} transfers")
        for hops, node in enumerate(nodes[1:], 1):
            imported = node.lines("Imported new chain segment")
            times = sorted(imported[block] - sealed[block] for block in large if block in imported)
            print(f"node {hops}: {len(times)} blocks, median {times[len(times) // 2]:.0f} ms, "
                  f"99 % {times[min(len(times) - 1, len(times) * 99 // 100)]:.0f} ms, most {times[-1]:.0f} ms")
    finally:
        for node in nodes:
            node.process.kill()
        namespaces(False)


def peers(work, count=50):
    """A node with 50 peers, at rest."""
    hub = Meshed(work, "hub", ["--genesis", "book", "--role", "tx", "--maxpeers", "80", "--port", "18999"], http=18998)
    others = []
    try:
        alone = hub.rss()
        enode = hub.enode("127.0.0.1")
        for index in range(count):
            folder = os.path.join(work, f"peer-{index}")
            os.makedirs(os.path.join(folder, "geth"))
            with open(os.path.join(folder, "geth", "static-nodes.json"), "w") as file:
                json.dump([enode], file)
            others.append(Meshed(work, f"peer-{index}", ["--genesis", "book", "--role", "tx", "--port", "0"],
                                 http=19000 + index))
        hub.wait(lambda: int(hub.call("net_peerCount"), 16) == count, 120, "all are there")
        time.sleep(10)
        print(f"RSS: {alone:.0f} MiB alone, {hub.rss():.0f} MiB with {count} peers")
    finally:
        for node in [hub, *others]:
            node.process.kill()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=40)
    parser.add_argument("what", nargs="*", choices=[[], "line", "mesh", "peers"])
    args = parser.parse_args()
    work = tempfile.mkdtemp(prefix="hematite-propagation-")
    try:
        for what in args.what or ["line", "mesh", "peers"]:
            folder = os.path.join(work, what)
            os.mkdir(folder)
            peers(folder) if what == "peers" else {"line": line, "mesh": mesh}[what](folder, args.blocks)
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
