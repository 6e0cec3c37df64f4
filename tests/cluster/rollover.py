"""A cluster of real geth 1.9.13 becomes ours, pod by pod, while people use it; then one pod becomes geth again."""
import json
import os
import shutil
import subprocess
import tempfile
import time

from book import OURS, TX, addresses, manifests
from testbed import (IMAGE, NAMESPACE, Users, figure, kubectl, number, pods, reported, restarts, rpc, say, spread, tool, trial,
                     wait)

GETH = os.path.expanduser("~/.cache/hematite/geth/v1.9.13")
DAGS = os.path.expanduser("~/.cache/hematite/dags-geth")
# geth's names of the DAGs of the first two epochs: it prepares the second when it begins to mine.
EPOCHS = {"full-R23-0000000000000000": "0", "full-R23-290decd9548b62a8": "30000"}
# Geth under its own names, so that the book's manifests hold; only the two images that are of others are ours.
ALIEN = {image: ours for image, ours in OURS.items() if not image.startswith("ethereum/client-go")}
GETHS = set(OURS) - set(ALIEN)
APPS = {"eth-bootnode": "10-bootnode", "eth-geth-tx": "50-tx", "eth-geth-miner": "40-miner"}
BLOCKS = 100
RATE = 5
ACCOUNTS = 400
# Kubernetes takes a pod for good when it has run so long; only then it ends the next.
SETTLE_SECONDS = 20
STALL_SECONDS_MAX = 60


def dags():
    """geth's DAGs, so that three geths with 0.4 core need not make them for half an hour."""
    os.makedirs(DAGS, exist_ok=True)
    for name, block in EPOCHS.items():
        if not os.path.exists(os.path.join(DAGS, name)):
            subprocess.run([os.environ["HEMATITE_BIN"], "makedag", block, DAGS], check=True, capture_output=True)


def geth_image():
    """The image that the book names: its base is that of ours, its programs are geth's."""
    context = tempfile.mkdtemp(prefix="geth-image-")
    try:
        for program in ("geth", "bootnode"):
            shutil.copy(os.path.join(GETH, program), context)
        with open(os.path.join(context, "Dockerfile"), "w") as file:
            file.write(f"FROM localhost/{IMAGE}-geth\n"
                       "RUN rm /usr/local/bin/hematite /usr/local/bin/geth /usr/local/bin/bootnode\n"
                       "COPY geth bootnode /usr/local/bin/\n")
        names = ("ethereum/client-go:v1.9.13", "ethereum/client-go:alltools-v1.9.13")
        for name in names:
            tool("kube-build-image", context, name)
        tool("kube-load", *names)
    finally:
        shutil.rmtree(context)


def with_dags(text):
    """The book's miners with a folder of the machine where geth keeps DAGs; nothing else of them is changed."""
    text = text.replace("      volumes:\n", f"      volumes:\n        - name: dags\n          hostPath: {{path: {DAGS}}}\n", 1)
    head, mounts, tail = text.rpartition("          volumeMounts:\n")
    assert mounts, "the miners mount something"
    return f"{head}{mounts}            - {{name: dags, mountPath: /root/.ethash, readOnly: true}}\n{tail}"


def apply(accounts, images, folder=""):
    """What the book's reader does, for all or for one folder of manifests."""
    for path, text in manifests(accounts, images):
        if folder in path:
            text = with_dags(text) if path.endswith("40-miner/30-deployment.yml") else text
            kubectl("apply", "-f", "-", input=text)


def height():
    return number(rpc(TX, "eth_blockNumber"))


def block(number):
    """A block, as soon as whoever the Service asks has it."""
    return wait(f"block {number} is there", 60, lambda: rpc(TX, "eth_getBlockByNumber", hex(number), False))[0]


def start_geth(accounts):
    kubectl("create", "namespace", NAMESPACE)
    apply(accounts, ALIEN)
    for app in APPS:
        # Where pods claim most of the machine, a new one has a place only when an old one is gone.
        spare = {} if app == "eth-geth-tx" else {"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}}
        patch = json.dumps({"spec": {"minReadySeconds": SETTLE_SECONDS, **spare}})
        kubectl("-n", NAMESPACE, "patch", "deployment", app, "-p", patch)
    began = time.monotonic()
    wait("geth's chain has blocks", 900, lambda: height() >= 1)
    say(f"geth 1.9.13 mines after {time.monotonic() - began:.0f} s")
    wait(f"geth's chain has {BLOCKS} blocks", 1800, lambda: height() >= BLOCKS)
    client = rpc(TX, "web3_clientVersion")
    assert client.startswith("Geth/v1.9.13"), client
    wait("five geths are on the dashboard", 120, lambda: len(live("Geth/")) == 5)


def live(client):
    """Nodes on the dashboard, of one kind, by name."""
    return {name: node for name, node in reported().items() if node["connected"] and node["node"].startswith(client)}


def images_of(app):
    listed = json.loads(kubectl("-n", NAMESPACE, "get", "pods", "-l", f"app={app}", "-o", "json"))["items"]
    return {pod["metadata"]["name"]: pod["spec"]["containers"][0]["image"] for pod in listed
            if "deletionTimestamp" not in pod["metadata"]}


def replace(accounts, app):
    """Changes the images of one Deployment; Kubernetes replaces its pods one by one."""
    before, began = height(), time.monotonic()
    apply(accounts, OURS, APPS[app])
    kubectl("-n", NAMESPACE, "rollout", "status", f"deployment/{app}", "--timeout=900s")
    wait(f"all pods of {app} are ours", 120, lambda: set(images_of(app).values()) == {OURS["ethereum/client-go:v1.9.13"]})
    if app == "eth-geth-tx":
        nodes = [f"http://{address}:8545" for _, address in pods(app)]
        wait("our nodes have geth's chain", 180, lambda: all(number(rpc(node, "eth_blockNumber")) > before for node in nodes))
    say(f"{app} is ours after {time.monotonic() - began:.0f} s, blocks {before} to {height()}")


def restore(accounts, app):
    """Goes back to geth, and stops there when one pod has."""
    patch = {"spec": {"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}}}
    kubectl("-n", NAMESPACE, "patch", "deployment", app, "-p", json.dumps(patch))
    apply(accounts, ALIEN, APPS[app])

    def one():
        return sorted(image in GETHS for image in images_of(app).values()) == [False, True]
    wait("one pod is geth again, and the other is ours", 600, one)
    kubectl("-n", NAMESPACE, "rollout", "pause", f"deployment/{app}")


def agreed():
    """All nodes have the same chain up to a few blocks from its end."""
    names = {name for app in ("eth-geth-miner", "eth-geth-tx") for name, _ in pods(app)}
    nodes = {name: node for name, node in reported().items() if name in names and node["connected"]}
    if set(nodes) != names:
        return None
    heads = {name: (node["block"]["number"], node["block"]["hash"]) for name, node in nodes.items()}
    settled = min(number for number, _ in heads.values())
    if max(number for number, _ in heads.values()) - settled > 3:
        return None
    here = block(settled)
    same = [hash for number, hash in heads.values() if number == settled]
    return heads if here and all(hash == here["hash"] for hash in same) else None


def judge(book, first, roll, settled):
    """Nothing that we answered is lost, and the chain went on."""
    rows = book["rows"].values()
    ours = [row for row in rows if row["client"].startswith("Hematite/")]
    geths = [row for row in rows if row["client"].startswith("Geth/")]
    lost = {kind: sum(row["mined"] is None for row in kind_rows) for kind, kind_rows in (("ours", ours), ("geth", geths))}
    assert ours and geths and len(ours) + len(geths) == len(book["rows"]), "both answered, and nobody else"
    figure("transactions that our nodes answered, and lost of them", f"{len(ours)}, {lost['ours']}", "0 lost")
    figure("transactions that geth answered, and lost of them", f"{len(geths)}, {lost['geth']}", "counted apart")
    waits = sorted(row["mined"] - row["answered"] for row in ours if row["mined"])
    figure("ours mined after", spread(waits))
    refused = sum(book["errors"].values())
    say(f"refusals: {book['errors']}")
    figure("requests, failed connections, refusals", f"{book['requests']}, {len(book['failures'])}, {refused}")
    times = [number(block(n)["timestamp"]) for n in range(roll, height() - 1)]
    gap = max(later - earlier for earlier, later in zip(times, times[1:]))
    figure("longest time without a block while pods were replaced", f"{gap} s of {times[-1] - times[0]} s", "60 s")
    assert block(BLOCKS)["hash"] == first, "the chain began anew"
    assert lost["ours"] == 0, f"lost of ours: {[name for name, row in book['rows'].items() if row['mined'] is None][:5]}"
    assert gap <= STALL_SECONDS_MAX
    figure("blocks at the end, all nodes on one chain", settled)


def change(accounts):
    """From geth to us, and a step back."""
    first, users, at = block(BLOCKS)["hash"], Users(TX, RATE, ACCOUNTS, "alone"), height()
    for app in APPS:
        replace(accounts, app)
    wait("all five nodes are ours", 120, lambda: len(live("Hematite/")) == 5)
    restore(accounts, "eth-geth-tx")
    wait("geth is back on the dashboard", 300, lambda: len(live("Geth/")) == 1)
    wait("heads agree", 300, agreed)
    time_at_end = height()
    wait("they mine on together", 300, lambda: height() >= time_at_end + 10)
    book = users.stop()
    heads, _ = wait("heads agree in the end", 120, agreed)
    judge(book, first, at, max(number for number, _ in heads.values()))
    figure("containers that were started again", restarts(), "0")


def main():
    accounts = addresses()

    def roll():
        start_geth(accounts)
        change(accounts)

    trial((dags, geth_image, roll), ("eth-bootnode", "eth-geth-miner", "eth-geth-tx"))


if __name__ == "__main__":
    main()
