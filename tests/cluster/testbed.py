"""A Kubernetes that lives for one test, and what tests ask of it."""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import traceback

TOOLS = os.environ["KUBE_TOOLS"]
IMAGE = "hematite:test"
KINDS = ("geth", "bootnode", "registrar", "ethstats")
NAMESPACE = "data"
DASHBOARD = "http://eth-ethstats.data:8080"
VENVS = os.path.expanduser("~/.cache/hematite/venv")
FIGURES = []


def say(text):
    print(f"cluster: {text}", flush=True)


def figure(what, value, asked=""):
    FIGURES.append((what, value, asked))
    say(f"{what}: {value}" + (f" (asked: {asked})" if asked else ""))


def table():
    print("\n| figure | measured | asked |\n|---|---|---|")
    for row in FIGURES:
        print("| " + " | ".join(map(str, row)) + " |", flush=True)


def tool(name, *words, **options):
    """A tool of the testbed, which must succeed."""
    done = subprocess.run([os.path.join(TOOLS, name), *words], text=True, capture_output=True, **options)
    if done.returncode != 0:
        sys.exit(f"{name} {' '.join(words)} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout


def kubectl(*words, **options):
    return tool("k", *words, **options)


def inside(*words, seconds=60):
    """A command of this machine in the cluster's network: its status, output and errors."""
    done = subprocess.run([os.path.join(TOOLS, "kube-ns"), *words], text=True, capture_output=True, timeout=seconds)
    return done.returncode, done.stdout, done.stderr


def wait(what, seconds, condition):
    """What the condition gives as soon as it gives something, and after how many seconds."""
    began = time.monotonic()
    while True:
        found = condition()
        if found:
            return found, time.monotonic() - began
        if time.monotonic() - began > seconds:
            raise AssertionError(f"not in {seconds} s: {what}")
        time.sleep(0.5)


def images(binary):
    """Builds the images and gives them to the cluster."""
    context = tempfile.mkdtemp(prefix="hematite-image-")
    try:
        for folder in ("data", "tmp"):
            os.makedirs(os.path.join(context, "out", folder))
        shutil.copy(binary, os.path.join(context, "out", "hematite"))
        for kind in KINDS:
            tool("kube-build-image", os.getcwd(), f"{IMAGE}-{kind}", "-f", "docker/Dockerfile", "--",
                 "--target", kind, "--build-context", f"build={context}")
    finally:
        shutil.rmtree(context)
    tool("kube-load", *(f"{IMAGE}-{kind}" for kind in KINDS))


def pods(label, ready=True):
    """Names and addresses of the pods of an app that are there to stay."""
    listed = json.loads(kubectl("-n", NAMESPACE, "get", "pods", "-l", f"app={label}", "-o", "json"))["items"]
    found = []
    for pod in listed:
        statuses = pod["status"].get("containerStatuses", [])
        is_ready = bool(statuses) and all(status["ready"] for status in statuses)
        if "deletionTimestamp" not in pod["metadata"] and (is_ready or not ready):
            found.append((pod["metadata"]["name"], pod["status"].get("podIP")))
    return found


def restarts():
    """How often containers were started again."""
    listed = json.loads(kubectl("-n", NAMESPACE, "get", "pods", "-o", "json"))["items"]
    return sum(status["restartCount"] for pod in listed for status in pod["status"].get("containerStatuses", []))


def logs(pod, *words):
    return kubectl("-n", NAMESPACE, "logs", pod, *words)


def rpc(address, method, *params):
    """A call over HTTP from within the cluster; None where nobody answers."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
    status, out, _ = inside("curl", "-sS", "-m", "10", "-H", "content-type: application/json", "-d", body, address)
    return json.loads(out).get("result") if status == 0 and out else None


def number(quantity):
    return int(quantity, 16) if quantity else -1


def reported():
    """The nodes that report to the dashboard, by name."""
    status, out, _ = inside("curl", "-sS", "-m", "10", f"{DASHBOARD}/api/v1/network")
    try:
        return {node["name"]: node for node in json.loads(out)["nodes"]} if status == 0 else {}
    except json.JSONDecodeError:
        return {}


def trial(parts, apps):
    """Runs parts on a fresh cluster; ends with the figures, and where one failed with the last words of some apps."""
    tool("kube-down")
    tool("kube-up")
    failed = None
    try:
        images(os.environ["HEMATITE_BIN"])
        for part in parts:
            part()
    except Exception as error:
        failed = f"{type(error).__name__}: {error}\n{traceback.format_exc()}"
        sys.stderr.write(kubectl("-n", NAMESPACE, "get", "pods", "-o", "wide"))
        for app in apps:
            for name, _ in pods(app, ready=False)[:1]:
                sys.stderr.write(f"--- {name}\n{logs(name, '--all-containers', '--tail=40')}\n")
    finally:
        if not os.environ.get("KEEP_CLUSTER"):
            tool("kube-down")
    table()
    sys.exit(f"failed: {failed}" if failed else 0)


def processes():
    """Arguments and MiB of memory of each process of ours on this machine."""
    found = []
    for number in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{number}/cmdline", "rb") as file:
                words = file.read().decode(errors="replace").split("\0")[:-1]
            with open(f"/proc/{number}/status") as file:
                status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        except (FileNotFoundError, ProcessLookupError):
            continue
        if words and os.path.basename(words[0]) in ("hematite", "geth", "bootnode") and "VmRSS" in status:
            resident = {name: int(status[name].split()[0]) / 1024 for name in ("VmRSS", "RssFile", "RssShmem")}
            found.append((words, resident))
    return found
