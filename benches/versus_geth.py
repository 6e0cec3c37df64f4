#!/usr/bin/env python3
"""Hematite beside real geth: the same work, in turns, in one run; medians of several runs.

usage: versus_geth.py [--runs N] [import core-geth disk startup intake history light mining sync]
Environment: HEMATITE_BIN, GETH_BIN, CONFORMANCE_DIR, MAKE_CHAIN_BIN, POUR_BIN. See benches/README.md.
"""
import argparse
import http.client
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

CACHE = os.path.expanduser("~/.cache/hematite")
TARGET = os.environ.get("CARGO_TARGET_DIR", f"{CACHE}/target")
HEMATITE = os.environ.get("HEMATITE_BIN", f"{TARGET}/release/hematite")
GETH = os.environ.get("GETH_BIN", f"{CACHE}/geth/v1.10.26/geth")
POUR = os.environ.get("POUR_BIN", f"{TARGET}/release/pour")
MAKE_CHAIN = os.environ.get("MAKE_CHAIN_BIN", f"{TARGET}/release/make-chain")
DATA = os.environ.get("CONFORMANCE_DIR", "../shared/conformance")
ERA1 = "realchain/mainnet/era1/mainnet-00000-5ec1ffb8.era1"
CORE_GETH = "realchain/synthetic/core-geth-simulated/foundation-condense-state"


def run(*command):
    """Seconds and peak RSS in MiB of a command that must succeed."""
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)} failed: {errors.decode()[-2000:]}")
    return time.monotonic() - started, usage.ru_maxrss / 1024


def disk(folder):
    """MiB that a folder takes."""
    return int(subprocess.check_output(["du", "-sk", folder]).split()[0]) / 1024


def row(name, ours, theirs, unit, more_is_better=False):
    ours, theirs = statistics.median(ours), statistics.median(theirs)
    ratio = ours / theirs if more_is_better else theirs / ours
    print(f"| {name} | {ours:.4g} {unit} | {theirs:.4g} {unit} | {ratio:.2f} x |", flush=True)


def imports(name, runs, work, ours, theirs, init=None):
    """Imports a file with both, in turns. `init` is a genesis file for geth."""
    seconds, rss = ([], []), ([], [])
    for _ in range(runs):
        for side, command in enumerate((ours, theirs)):
            folder = os.path.join(work, f"import-{side}")
            shutil.rmtree(folder, ignore_errors=True)
            if side == 1 and init:
                run(GETH, "--datadir", folder, "init", init)
            took, peak = run(*[word.format(folder=folder) for word in command])
            seconds[side].append(took)
            rss[side].append(peak)
    row(f"{name}, wall", *seconds, "s")
    row(f"{name}, peak RSS", *rss, "MiB")
    return [os.path.join(work, f"import-{side}") for side in (0, 1)]


def bench_import(runs, work):
    era1 = os.path.join(DATA, ERA1)
    rlp = os.path.join(work, "mainnet.rlp")
    run(HEMATITE, "--datadir", os.path.join(work, "convert"), "import", era1)
    run(HEMATITE, "--datadir", os.path.join(work, "convert"), "export", rlp)
    imports("mainnet 0-8191, every seal", runs, work,
            [HEMATITE, "--datadir", "{folder}", "import", rlp],
            [GETH, "--datadir", "{folder}", "--nousb", "import", rlp])


def bench_core_geth(runs, work):
    genesis, chain = core_geth_chain()
    imports("core-geth's 1 310 blocks, 22 258 txs", runs, work,
            [HEMATITE, "--datadir", "{folder}", "--genesis", genesis, "import", chain],
            [GETH, "--datadir", "{folder}", "--nousb", "import", chain], init=genesis)


def made_chain(work, blocks=20000):
    folder = os.path.join(work, "made")
    if not os.path.exists(os.path.join(folder, "chain.rlp")):
        run(MAKE_CHAIN, str(blocks), folder)
    return os.path.join(folder, "genesis.json"), os.path.join(folder, "chain.rlp")


def bench_disk(runs, work):
    genesis, chain = made_chain(work)
    folders = imports("20 000 blocks with a transfer each", min(runs, 1), work,
                      [HEMATITE, "--datadir", "{folder}", "--fakepow", "--genesis", genesis, "import", chain],
                      [GETH, "--datadir", "{folder}", "--fakepow", "--gcmode", "archive", "import", chain],
                      init=genesis)
    row("the same on disk, whole history", *[[disk(folder)] for folder in folders], "MiB")
    for side, name in enumerate(("hematite", "geth")):
        shutil.rmtree(os.path.join(work, name), ignore_errors=True)
        shutil.move(folders[side], os.path.join(work, name))


class Node:
    """A running node, reached over one keep-alive connection."""

    def __init__(self, command, port, host="127.0.0.1", log=subprocess.DEVNULL):
        self.started = time.monotonic()
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)
        self.port = port
        while True:
            try:
                self.http = http.client.HTTPConnection(host, port, timeout=60)
                self.call("eth_blockNumber")
                break
            except OSError:
                if self.process.poll() is not None or time.monotonic() - self.started > 60:
                    sys.exit(f"{' '.join(command)} does not answer")
                time.sleep(0.002)
        self.startup = time.monotonic() - self.started

    def post(self, body):
        self.http.request("POST", "/", body, {"content-type": "application/json"})
        return json.loads(self.http.getresponse().read())

    def call(self, method, *params):
        answer = self.post(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def rss(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024

    def peak(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024

    def processor(self):
        """Seconds of processor that its threads have used, finer than the clock's ticks."""
        seconds = 0
        for thread in os.listdir(f"/proc/{self.process.pid}/task"):
            with open(f"/proc/{self.process.pid}/task/{thread}/schedstat") as stat:
                seconds += int(stat.read().split()[0]) / 1e9
        return seconds

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        self.process.wait(60)


def start(side, folder, port=18945):
    if side == 0:
        return Node([HEMATITE, "--datadir", folder, "--role", "tx", "--fakepow", "--http", "--http.port", str(port)], port)
    return Node([GETH, "--datadir", folder, "--fakepow", "--gcmode", "archive", "--http", "--http.port", str(port),
                 "--http.api", "eth,net,web3,txpool", "--nodiscover", "--maxpeers", "0", "--port", "0", "--ipcdisable",
                 "--networkid", "1337", "--rpc.allow-unprotected-txs", "--authrpc.port", "0"], port)


def copies(work):
    """Both data directories of the made chain, made if they are not there."""
    folders = [os.path.join(work, name) for name in ("hematite", "geth")]
    if not all(map(os.path.exists, folders)):
        bench_disk(1, work)
    return folders


def bench_startup(runs, work):
    seconds, killed, idle = ([], []), ([], []), ([], [])
    for _ in range(max(runs, 3)):
        for side, folder in enumerate(copies(work)):
            node = start(side, folder)
            seconds[side].append(node.startup * 1000)
            idle[side].append(node.rss())
            node.stop(signal.SIGKILL)
            node = start(side, folder)
            killed[side].append(node.startup * 1000)
            node.stop()
    row("exec to first HTTP answer", *seconds, "ms")
    row("the same after kill -9", *killed, "ms")
    row("idle RSS", *idle, "MiB")


class Wire:
    """One keep-alive connection that sends what was encoded before: the client should cost little."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")

    @staticmethod
    def encode(body):
        body = json.dumps(body).encode()
        head = f"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        return head.encode() + body

    def post(self, request):
        self.socket.sendall(request)
        return self.read()

    def read(self):
        """The next answer's body, whole or in chunks."""
        length = 0
        while (line := self.file.readline()) != b"\r\n":
            if not line:
                raise ConnectionError("the node closed the connection")
            name, _, value = line.lower().partition(b":")
            if name == b"content-length":
                length = int(value)
            elif name == b"transfer-encoding":
                length = None
        if length is not None:
            return self.file.read(length)
        body = b""
        while size := int(self.file.readline(), 16):
            body += self.file.read(size)
            self.file.readline()
        self.file.readline()
        return body


def pour(port, connections, requests):
    """Sends each request once, one in flight on each connection: the seconds, and how many had a result."""
    bodies = "\n".join(json.dumps(request) for request in requests)
    seconds, results = subprocess.check_output([POUR, str(port), str(connections)], input=bodies, text=True).split()
    return float(seconds), int(results)


def raw_transaction(number, raw):
    return {"jsonrpc": "2.0", "id": number, "method": "eth_sendRawTransaction", "params": [raw]}


def signed(count, first_nonce):
    """Raw transfers of the made chain's first sender, signed by eth_account of the web3 environment."""
    script = (
        "import sys\nfrom eth_account import Account\n"
        "key='0x'+'11'*31+'01'\n"
        f"for n in range({first_nonce},{first_nonce + count}):\n"
        " t=dict(nonce=n,to='0x'+'00'*19+'ff',value=1,gas=21000,gasPrice=10**9,chainId=1337)\n"
        " print('0x'+Account.sign_transaction(t,key).raw_transaction.hex().removeprefix('0x'))\n")
    return subprocess.check_output([f"{CACHE}/venv/web3-7/bin/python", "-c", script]).decode().split()


def bench_intake(runs, work, count=1300, batch=100, slices=4, connections=16):
    """Both take their transactions in turns of a slice, the other stopped: a neighbour's noise hits both."""
    address = "0x" + subprocess.check_output(
        [f"{CACHE}/venv/web3-7/bin/python", "-c",
         "from eth_account import Account; print(Account.from_key('0x'+'11'*31+'01').address)"]).decode().strip()[2:]
    single, poured, batched = ((([], []), ([], [])) for _ in range(3))
    transactions = None
    for _ in range(runs):
        nodes = []
        for side, folder in enumerate(copies(work)):
            copy = os.path.join(work, f"intake-{side}")
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(folder, copy)
            nodes.append(start(side, copy, 18945 + side))
        nonce = int(nodes[0].call("eth_getTransactionCount", address, "latest"), 16)
        transactions = transactions or signed(3 * count, nonce)
        singles = [raw_transaction(n, raw) for n, raw in enumerate(transactions[:2 * count])]
        batches = [[raw_transaction(n, raw) for n, raw in enumerate(transactions[first:first + batch])]
                   for first in range(2 * count, 3 * count, batch)]
        works = ((singles[:count], single, 1), (singles[count:], poured, connections), (batches, batched, 1))
        for requests, (rates, processor), used in works:
            seconds, accepted, before = [0, 0], [0, 0], [node.processor() for node in nodes]
            share = len(requests) // slices
            for first in range(0, len(requests), share):
                for side, node in enumerate(nodes):
                    # What a node has put off is not done in the other's time.
                    nodes[1 - side].process.send_signal(signal.SIGSTOP)
                    took, results = pour(node.port, used, requests[first:first + share])
                    seconds[side] += took
                    accepted[side] += results
                    nodes[1 - side].process.send_signal(signal.SIGCONT)
            for side, node in enumerate(nodes):
                assert accepted[side] == count, f"side {side}: {accepted[side]} of {count} accepted"
                rates[side].append(count / seconds[side])
                processor[side].append((node.processor() - before[side]) / count * 1e6)
        for node in nodes:
            node.stop(signal.SIGKILL)
    for name, (rates, processor) in (("one connection", single), (f"{connections} connections", poured),
                                     (f"batches of {batch}", batched)):
        row(f"transactions, {name}", *rates, "tx/s", more_is_better=True)
        row(f"the node's processor each, {name}", *processor, "us")


def bench_history(runs, work, count=3000):
    recipient = "0x00000000000000000000000000000000000000bb"
    head, past = ([], []), ([], [])
    for _ in range(runs):
        for side, folder in enumerate(copies(work)):
            node = start(side, folder)
            for times, block in ((head, "latest"), (past, hex(10000))):
                began = time.monotonic()
                for _ in range(count):
                    node.call("eth_getBalance", recipient, block)
                times[side].append((time.monotonic() - began) / count * 1e6)
            node.stop()
    row("balance at the head", *head, "us")
    row("balance 10 000 blocks back", *past, "us")
    print(f"back / head: hematite {statistics.median(past[0]) / statistics.median(head[0]):.2f}, "
          f"geth {statistics.median(past[1]) / statistics.median(head[1]):.2f}")


def bench_light(runs, _work, seconds=2):
    """Proofs of work checked without a dataset, in turns; geth's function is linked by benches/geth-light."""
    binary = os.path.join(CACHE, "geth-light")
    subprocess.run(["go", "build", "-ldflags=-checklinkname=0", "-o", binary, "."], check=True,
                   cwd=os.path.join(os.path.dirname(os.path.abspath(__file__)), "geth-light"))
    for threads in (1, 2):
        rates, singles = ([], []), []
        for _ in range(max(runs, 3)):
            report = json.loads(subprocess.check_output(
                [HEMATITE, "bench", "verify", "--threads", str(threads), "--seconds", str(seconds), "--json"],
                stderr=subprocess.DEVNULL))
            by_batch = {row["batch"]: row["headers_per_second"] for row in report["verify"]}
            singles.append(by_batch.pop(1))
            rates[0].append(max(by_batch.values()))
            rates[1].append(float(subprocess.check_output([binary, str(seconds), str(threads)])))
        row(f"light verification in batches, {threads} threads", *rates, "/s", more_is_better=True)
        row(f"the same one by one, {threads} threads", singles, rates[1], "/s", more_is_better=True)


def bench_mining(runs, _work, count=3000):
    """RPC latency of a node that mines on every core, beside the same node idle: no geth in it."""
    idle, busy = ([], []), ([], [])
    folder = tempfile.mkdtemp(prefix="hematite-mining-")
    try:
        for _ in range(max(runs, 3)):
            for mines, times in ((False, idle), (True, busy)):
                arguments = ["--role", "miner" if mines else "tx", "--miner.etherbase", "0x" + "11" * 20, "--http",
                             "--genesis", "book", "--datadir", folder, "--http.port", "18955",
                             "--ethash.dagdir", os.path.join(CACHE, "dags"), "--verbosity", "1"]
                node = Node([HEMATITE, *arguments], 18955)
                if mines:
                    before = int(node.call("eth_blockNumber"), 16)
                    while int(node.call("eth_blockNumber"), 16) == before:
                        time.sleep(0.1)
                wire = Wire(18955)
                request = Wire.encode({"jsonrpc": "2.0", "id": 1, "method": "eth_getBalance",
                                       "params": ["0x" + "11" * 20, "latest"]})
                samples = []
                for _ in range(count):
                    began = time.monotonic()
                    wire.post(request)
                    samples.append((time.monotonic() - began) * 1e6)
                samples.sort()
                times[0].append(samples[len(samples) // 2])
                times[1].append(samples[len(samples) * 99 // 100])
                node.stop()
    finally:
        shutil.rmtree(folder)
    for name, which in (("median", 0), ("99 %", 1)):
        before, after = statistics.median(idle[which]), statistics.median(busy[which])
        print(f"eth_getBalance, {name}: idle {before:.0f} us, mining {after:.0f} us, {after / before:.2f} x")


def core_geth_chain():
    folder = os.path.join(DATA, CORE_GETH)
    files = {os.path.splitext(name)[1]: os.path.join(folder, name) for name in os.listdir(folder)}
    return files[".json"], files[".gz"]


# Node keys of the two that serve, and their ids.
SERVERS = [("11" * 32, 18960, 18970), ("22" * 32, 18961, 18971)]


def peer_node(side, folder, genesis, port, http, extra, config):
    """A node with its network on, at a port. geth takes unproved blocks with its faked mode only."""
    if side == 0:
        return Node([HEMATITE, "--datadir", folder, "--genesis", genesis, "--role", "tx", "--fakepow", "--networkid",
                     "1337", "--nat", "extip:127.0.0.1", "--nodiscover", "--port", str(port), "--ops.addr", "off",
                     "--http", "--http.port", str(http), "--http.api", "eth,admin", "--verbosity", "2", *extra], http)
    return Node([GETH, "--config", config, "--datadir", folder, "--networkid", "1337", "--nat", "extip:127.0.0.1",
                 "--nodiscover", "--port", str(port), "--ipcdisable", "--syncmode", "full", "--authrpc.port", "0",
                 "--http", "--http.port", str(http), "--http.api", "eth,admin", *extra], http)


def synced(side, folder, genesis, server, goal, config):
    """Seconds until everything is there, fetched from one peer: with and without the 10 s that geth waits for more
    peers before it begins; and the peak of RSS."""
    shutil.rmtree(folder, ignore_errors=True)
    if side == 1:
        run(GETH, "--datadir", folder, "init", genesis)
    node = peer_node(side, folder, genesis, 18965, 18975, [], config)
    node.call("admin_addPeer", server)
    began = time.monotonic()
    while True:
        height = int(node.call("eth_blockNumber"), 16)
        now = time.monotonic()
        if height >= goal:
            break
        if now - began > 600:
            sys.exit(f"stuck at {height} of {goal}")
        time.sleep(0.005)
    peak = node.peak()
    node.stop()
    whole = now - began
    return whole, whole - (10 if side else 0), peak


def bench_sync(runs, work):
    config = os.path.join(work, "faked.toml")
    with open(config, "w") as file:
        file.write("[Eth.Ethash]\nPowMode = 3\n")
    made = made_chain(work)
    for name, (genesis, chain) in (("core-geth's 1 310 blocks", core_geth_chain()), ("20 000 blocks", made)):
        servers = []
        for side in (0, 1):
            folder = os.path.join(work, f"server-{side}")
            shutil.rmtree(folder, ignore_errors=True)
            if side == 0:
                run(HEMATITE, "--datadir", folder, "--fakepow", "--genesis", genesis, "import", chain)
            else:
                run(GETH, "--datadir", folder, "init", genesis)
                run(GETH, "--datadir", folder, "--fakepow", "import", chain)
            key, port, http = SERVERS[side]
            servers.append(peer_node(side, folder, genesis, port, http, ["--nodekeyhex", key], config))
        goal = int(servers[1].call("eth_blockNumber"), 16)
        urls = [server.call("admin_nodeInfo")["enode"].split("?")[0] for server in servers]
        times = {}
        for _ in range(runs):
            for which, (side, server) in (("ours", (0, 0)), ("mixed", (0, 1)), ("theirs", (1, 1))):
                took = synced(side, os.path.join(work, "client"), genesis, urls[server], goal, config)
                times.setdefault(which, []).append(took)
        for server in servers:
            server.stop()
        worked = {which: [took[1] for took in all] for which, all in times.items()}
        row(f"sync of {name} from geth", worked["mixed"], worked["theirs"], "s")
        row(f"sync of {name} from its own kind", worked["ours"], worked["theirs"], "s")
        peaks = {which: [took[2] for took in all] for which, all in times.items()}
        row("the same, peak RSS", peaks["ours"], peaks["theirs"], "MiB")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--work", default=None, help="a folder to work in; kept")
    names = ["import", "core-geth", "disk", "startup", "intake", "history", "light", "mining", "sync"]
    parser.add_argument("what", nargs="*", choices=[[], *names])
    args = parser.parse_args()
    work = args.work or tempfile.mkdtemp(prefix="hematite-bench-")
    os.makedirs(work, exist_ok=True)
    print("| what | hematite | geth | better by |\n|---|---|---|---|")
    try:
        for name in args.what or names:
            globals()["bench_" + name.replace("-", "_")](args.runs, work)
    finally:
        if not args.work:
            shutil.rmtree(work)


if __name__ == "__main__":
    main()
