"""What the tests of finch fetch share: runs of the program and of huggingface_hub against the stand-in, and a look at a cache."""
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "cli"))
from finch_cli import PROGRAM, SOURCE  # noqa: E402,F401
from stand_in import TOKEN  # noqa: E402

# What of the caller's own settings must not reach a test.
FOREIGN = [name for name in os.environ if name.startswith(("HF_", "HUGGING", "TRANSFORMERS_"))
           or name.lower() in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file", "curl_ca_bundle", "requests_ca_bundle")]


def environment(hub, home, **more):
    env = {k: v for k, v in os.environ.items() if k not in FOREIGN}
    env |= {"HF_ENDPOINT": getattr(hub, "endpoint", hub), "HF_HOME": home, "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1"}
    env |= {k: v for k, v in more.items() if v is not None}
    return env


def command(repo, *words, retries="5", wait="0.05"):
    return [PROGRAM, "fetch", repo, *map(str, words), "--retries", retries, "--retry-wait", wait]


def fetch(hub, home, repo, *words, env=None, timeout=120, retries="5", **more):
    done = subprocess.run(command(repo, *words, retries=retries), env=environment(hub, home, **(env or {})), capture_output=True, text=True,
                          timeout=timeout, **more)
    assert TOKEN not in done.stdout + done.stderr, "the token was printed"
    return done


def fetch_json(hub, home, repo, *words, **more):
    done = fetch(hub, home, repo, *words, "--json", **more)
    assert done.returncode == 0, f"ended with {done.returncode}: {done.stderr}"
    return json.loads(done.stdout)


def python(code, hub, home, *words, **env):
    """Runs code with huggingface_hub; its stdout."""
    done = subprocess.run([sys.executable, "-c", code, *words], env=environment(hub, home, **env), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def content(path):
    with open(path, "rb") as file:
        return file.read()


def tree(root):
    """Each name below root with its kind, mode, and content or link's target."""
    found = {}
    for folder, folders, files in os.walk(root):
        for name in folders + files:
            path = os.path.join(folder, name)
            info = os.lstat(path)
            if stat.S_ISLNK(info.st_mode):
                what = ("link", os.readlink(path))
            elif stat.S_ISDIR(info.st_mode):
                what = ("folder", stat.S_IMODE(info.st_mode))
            else:
                what = ("file", stat.S_IMODE(info.st_mode), content(path))
            found[os.path.relpath(path, root)] = what
    return found


def strays(root):
    """What no finished fetch may leave behind."""
    return [name for name in tree(root) if name.endswith((".incomplete", ".tmp")) or ".part" in name]


def folder(test):
    made = tempfile.mkdtemp(prefix="finch-hub-")
    test.addCleanup(shutil.rmtree, made, True)
    return made
