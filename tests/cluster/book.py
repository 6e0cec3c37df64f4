"""The book's cluster with nothing changed but its images: from `kubectl apply` to the end of the chapter."""
import glob
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

from testbed import (IMAGE, NAMESPACE, VENVS, figure, inside, kubectl, logs, number, pods, reported, restarts,
                     rpc, say, trial, usage, wait)

BOOK = os.environ["BOOK_CLUSTER"]
CLIENTS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "clients")
OURS = {
    "ethereum/client-go:v1.9.13": f"{IMAGE}-geth",
    "ethereum/client-go:alltools-v1.9.13": f"{IMAGE}-geth",
    "jpoon/bootnode-registrar:v1.0.0": f"{IMAGE}-registrar",
    "ethereumex/eth-stats-dashboard:v0.0.1": f"{IMAGE}-ethstats",
}
# The book's readers put accounts of their own into the genesis.
KEYS = ("0x" + "01" * 32, "0x" + "02" * 32)
BOOK_ACCOUNTS = ("0xFa4087D3688a289c9C92e773a7b46cb9CCf80353", "0x8ab8F3fc6c660d3f0B22490050C843cafd2c0AAC")
TX = "http://eth-geth-tx.data:8545"


def python(venv, script, *words, seconds=300):
    """A script with the web3.py of the book or of today, inside the cluster."""
    status, out, errors = inside(f"{VENVS}/{venv}/bin/python", script, *words, seconds=seconds)
    assert status == 0, f"{script} failed: {out}{errors}"
    return out


def addresses():
    code = "import sys\nfrom eth_account import Account\nfor key in sys.argv[1:]: print(Account.from_key(key).address)"
    return subprocess.check_output([f"{VENVS}/web3-7/bin/python", "-c", code, *KEYS], text=True).split()


def manifests(accounts, images=OURS):
    """The book's files in their order, with other images and the reader's accounts."""
    for path in sorted(glob.glob(os.path.join(BOOK, "*-*", "*.yml"))):
        if path.endswith("50-ingress.yml"):
            continue  # An API that this Kubernetes may not have; the book's readers own a domain for it.
        with open(path) as file:
            text = file.read()
        text = re.sub(r"(image: )(\S+)", lambda found: found[1] + images.get(found[2], found[2]), text)
        for old, new in zip(BOOK_ACCOUNTS, accounts):
            text = text.replace(old, new)
        yield path, text


def height():
    return number(rpc(TX, "eth_blockNumber"))


def apply(accounts):
    """Applies everything; says how long it took until all pods were ready and until a block was mined."""
    kubectl("create", "namespace", NAMESPACE)
    began = time.monotonic()
    for _, text in manifests(accounts):
        kubectl("apply", "-f", "-", input=text)
    wanted = {"eth-bootnode": 2, "eth-bootnode-registrar": 1, "eth-ethstats": 1, "eth-geth-miner": 3, "eth-geth-tx": 2}
    wait("all pods are ready", 300, lambda: all(len(pods(app)) == count for app, count in wanted.items()))
    figure("kubectl apply to all pods ready", f"{time.monotonic() - began:.0f} s")
    wait("a block is mined", 1200, lambda: height() >= 1)
    figure("kubectl apply to the first mined block, DAG of three miners at 0.4 core included",
           f"{time.monotonic() - began:.0f} s", "60 s; geth 1.9.13: 1 732 s and more")


def one_chain():
    """All miners' blocks are in the chain that both tx nodes have."""
    (_, first), (_, second) = pods("eth-geth-tx")
    nodes = [f"http://{address}:8545" for address in (first, second)]

    def miners():
        count = height()
        blocks = [rpc(TX, "eth_getBlockByNumber", hex(n), False) for n in range(1, count + 1)]
        return {block["miner"] for block in blocks if block}
    wait("three miners have blocks in the chain", 900, lambda: len(miners()) == 3)
    wait("both tx nodes follow", 120, lambda: all(number(rpc(node, "eth_blockNumber")) >= 5 for node in nodes))
    settled = height() - 2
    hashes = [wait("they have the block", 60, lambda: rpc(node, "eth_getBlockByNumber", hex(settled), False))[0]["hash"]
              for node in nodes]
    assert hashes[0] == hashes[1], hashes
    peers = wait("a tx node has all four peers", 120, lambda: number(rpc(nodes[0], "net_peerCount")) == 4)
    figure("tx node's peers", 4 if peers else "fewer", "4")
    assert rpc(TX, "net_version") == "27587"


def clients(accounts):
    """The notebook, the function, and WebSocket, through the Service."""
    with tempfile.TemporaryDirectory() as folder:
        key, password = os.path.join(folder, "account1.json"), os.path.join(folder, "pass1.txt")
        code = ("import json, sys\nfrom eth_account import Account\n"
                "print(json.dumps(Account.encrypt(sys.argv[1], 'pass', kdf='pbkdf2', iterations=1000)))")
        with open(key, "w") as file:
            file.write(subprocess.check_output([f"{VENVS}/web3-7/bin/python", "-c", code, KEYS[0]], text=True))
        with open(password, "w") as file:
            file.write("pass\n")
        said = python("web3-5", f"{CLIENTS}/notebook.py", TX, key, password, *accounts)
    say(f"the notebook saw {' '.join(said.split())}")
    os.environ["GETH_RPC_ENDPOINT"] = TX
    block = python("web3-5", os.path.join(BOOK, "functions", "last-block", "handler.py"))
    assert "'statusCode': 200" in block and "'hash'" in block, block
    # The book's `--ws` without an address listens within the pod only, as geth's does.
    pod = pods("eth-geth-tx")[0][0]
    upgrade = ("printf 'GET / HTTP/1.1\\r\\nHost: localhost\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n"
               "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\\r\\nSec-WebSocket-Version: 13\\r\\n\\r\\n' "
               "| nc -w 3 127.0.0.1 8546 | head -n 1")
    answer = kubectl("-n", NAMESPACE, "exec", pod, "--", "/bin/sh", "-c", upgrade)
    assert "101" in answer, f"port 8546 answers {answer!r}"


def heals():
    """Scaling, and pods that are deleted."""
    kubectl("-n", NAMESPACE, "scale", "deployment/eth-geth-tx", "--replicas=3")
    wait("a third tx node is ready", 120, lambda: len(pods("eth-geth-tx")) == 3)
    address = [ip for _, ip in pods("eth-geth-tx")][-1]
    wait("it has caught up", 120, lambda: number(rpc(f"http://{address}:8545", "eth_blockNumber")) >= height() > 0)
    kubectl("-n", NAMESPACE, "scale", "deployment/eth-geth-tx", "--replicas=2")
    before = {name for name, _ in pods("eth-geth-miner")}
    gone = sorted(before)[0]
    began = time.monotonic()
    kubectl("-n", NAMESPACE, "delete", "pod", gone, "--wait=false")

    def mines_again():
        new = [name for name, _ in pods("eth-geth-miner") if name not in before]
        return new and "mined potential block" in logs(new[0])
    wait("the new miner mines", 900, mines_again)
    figure("a deleted miner's successor mines", f"after {time.monotonic() - began:.0f} s", "60 s; geth 1.9.13: 1 605 s")


def dashboard():
    """Everybody reports."""
    names = {name for app in ("eth-geth-miner", "eth-geth-tx") for name, _ in pods(app)}
    wait("five nodes are on the dashboard", 120, lambda: names <= set(reported()))
    figure("nodes on the dashboard", len(names), "5")


def role_of(words):
    line = " ".join(words)
    return ("miner" if "--mine" in line else "tx" if "--rpcaddr" in line else "registrar" if "registrar" in line
            else "dashboard" if "ethstats" in line else "bootnode" if os.path.basename(words[0]) == "bootnode" else None)


def at_rest():
    """Memory and processor of each role. A dataset in private memory is counted with its miner."""
    asked = {"bootnode": "20 MB", "registrar": "30 MB", "dashboard": "30 MB", "tx": "60 MB", "miner": "60 MB and the dataset"}
    for role, (memory, share) in usage(role_of).items():
        figure(f"{role}: RSS, and share of a core", f"{memory:.0f} MiB, {share:.1f} %", asked[role])


def block_times():
    last = height()
    times = [number(rpc(TX, "eth_getBlockByNumber", hex(n), False)["timestamp"]) for n in range(1, last + 1)]
    gaps = [later - earlier for earlier, later in zip(times, times[1:])]
    if gaps:
        figure("block times", f"{len(gaps)} blocks, median {statistics.median(gaps):.0f} s, most {max(gaps)} s")


def main():
    accounts = addresses()
    parts = (lambda: apply(accounts), one_chain, lambda: clients(accounts), dashboard, heals, at_rest, block_times,
             lambda: figure("containers that were started again", restarts(), "0"))
    trial(parts, ("eth-bootnode", "eth-geth-miner", "eth-geth-tx", "eth-ethstats"))


if __name__ == "__main__":
    main()
