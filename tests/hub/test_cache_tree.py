"""The cache that finch fetch makes is the one huggingface_hub makes, and huggingface_hub and transformers read it without network."""
import json
import os
import random
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from hubtest import SOURCE, content, fetch_json, folder, python, tree  # noqa: E402
from stand_in import Repo, StandIn  # noqa: E402

MODEL = os.path.join(SOURCE, "tests", "fixtures", "models", "tiny-bert")
# One start of Python for many snapshots: [[where, keywords], ...].
SNAPSHOTS = """
import json, sys
from huggingface_hub import snapshot_download
for where, keywords in json.loads(sys.argv[1]):
    snapshot_download(cache_dir=where, **keywords)
"""


def draw(seed, size):
    return random.Random(seed).randbytes(size)


def odd_repo(kind="models"):
    """Names, sizes and contents that have tripped tools before."""
    return Repo("own-er/odd.repo_1", {
        "config.json": b"{}", "empty.txt": b"", "same-1.txt": b"same", "deep/er/same-2.txt": b"same", "a b+c%20&#?.txt": b"blank",
        "\u00e9t\u00e9/\U0001F600 \"q\".txt": "\u00e9".encode() * 40, ".gitattributes": b"*.bin lfs", "big.txt": draw(1, 300_000),
        "tab\\slash.txt": b"backslash",
    }, lfs={"model.safetensors": draw(2, 3_000_000), "sub/one-byte.bin": b"x", "sub/xet.bin": draw(3, 70_000), "empty.bin": b""},
        xet=["sub/xet.bin"], kind=kind, refs={})


class CacheTree(unittest.TestCase):
    def setUp(self):
        self.hub = StandIn(page_size=4)

    def both(self, repo, *cases):
        """Both libraries' caches of a repository, which must be equal to the last name, mode, link and byte, for each case of
        huggingface_hub's keywords."""
        results, pairs, jobs = [], [], []
        for case in cases or ({},):
            ours, theirs = folder(self), folder(self)
            keywords = {"repo_id": repo.name, "repo_type": "dataset" if repo.kind == "datasets" else "model", **case}
            words = ["--dataset"] if repo.kind == "datasets" else []
            for keyword, option in (("revision", "--revision"), ("allow_patterns", "--include"), ("ignore_patterns", "--exclude")):
                given = case.get(keyword, [])
                words += [option, *([given] if isinstance(given, str) else given)] if given else []
            results.append(fetch_json(self.hub, ours, repo.name, "--part-size", 1_000_000, *words, env={"HF_HUB_CACHE": ours}))
            pairs.append((ours, theirs))
            jobs.append([theirs, keywords])
        self.snapshots(jobs)
        for ours, theirs in pairs:
            mine, other = tree(ours), tree(theirs)
            self.assertEqual(sorted(mine), sorted(other))
            for name in mine:
                self.assertEqual(mine[name], other[name], name)
        return results

    def snapshots(self, jobs):
        python(SNAPSHOTS, self.hub, folder(self), json.dumps(jobs))

    def test_a_model(self):
        repo = self.hub.add(odd_repo())
        with self.hub:
            result = self.both(repo)[0]
            self.assertEqual(result["commit"], repo.commit)
            self.assertEqual(result["files"], 13)
            self.assertEqual(result["from_cache"], 0)
            self.assertEqual(result["bytes"], sum(map(len, [*repo.files.values(), *repo.lfs.values()])))
            for path in [*repo.files, *repo.lfs]:
                self.assertEqual(content(os.path.join(result["snapshot"], path)), repo.data(path), path)
            self.assertFalse([said for said in map(str, self.hub.log) if "xet-read-token" in said or "reconstructions" in said])

    def test_a_dataset_and_kinds_of_revisions(self):
        repo = odd_repo("datasets")
        repo.refs |= {"refs/pr/7": repo.commit, "v1.0": repo.commit}
        self.hub.add(repo)
        with self.hub:
            result = self.both(repo, {"revision": "refs/pr/7"}, {"revision": "v1.0"}, {"revision": repo.commit})[0]
        self.assertIn("datasets--own-er--odd.repo_1", result["snapshot"])

    def test_globs(self):
        repo = self.hub.add(odd_repo())
        with self.hub:
            self.both(repo, {"allow_patterns": ["*.txt"]}, {"allow_patterns": ["sub/"]}, {"ignore_patterns": ["*.txt", "sub/*"]},
                      {"allow_patterns": ["*.bin", "*.txt"], "ignore_patterns": ["deep/", "*[1-9]*"]},
                      {"allow_patterns": ["?onfig.json", "[!a-z]*"]}, {"allow_patterns": ["TAB*", "tab\\slash.txt"]})

    def test_a_second_revision_shares_blobs(self):
        repo = self.hub.add(odd_repo())
        ours, theirs = folder(self), folder(self)
        with self.hub:
            fetch_json(self.hub, ours, repo.name, env={"HF_HUB_CACHE": ours})
            self.snapshots([[theirs, {"repo_id": repo.name}]])
            files = dict(repo.files)
            files["config.json"], files["new.json"] = b'{"new":1}', b"{}"
            newer = self.hub.add(Repo(repo.name, files, repo.lfs))
            self.assertNotEqual(newer.commit, repo.commit)
            result = fetch_json(self.hub, ours, repo.name, env={"HF_HUB_CACHE": ours})
            self.snapshots([[theirs, {"repo_id": repo.name}]])
            self.assertEqual(result["bytes_received"], len(b'{"new":1}'))
            self.assertEqual(tree(ours), tree(theirs))

    def test_each_goes_on_from_the_other(self):
        repo = self.hub.add(odd_repo())
        home = folder(self)
        with self.hub:
            self.snapshots([[home, {"repo_id": repo.name, "allow_patterns": ["*.txt"]}]])
            before = len(self.hub.requests("hub", "/resolve/.*txt"))
            result = fetch_json(self.hub, home, repo.name, env={"HF_HUB_CACHE": home})
            self.assertGreater(result["from_cache"], 0)
            self.assertEqual(len(self.hub.requests("hub", "/resolve/.*txt")), before)
            self.hub.log.clear()
            self.snapshots([[home, {"repo_id": repo.name}]])
            self.assertEqual(self.hub.requests("hub", "/resolve/"), [])

    def test_huggingface_hub_loads_it_offline(self):
        repo = self.hub.add(odd_repo())
        home = folder(self)
        with self.hub:
            snapshot = fetch_json(self.hub, home, repo.name)["snapshot"]
        code = "from huggingface_hub import snapshot_download as s, hf_hub_download as h, scan_cache_dir, try_to_load_from_cache as t\n" \
               f"assert s({repo.name!r}, local_files_only=True) == {snapshot!r}\n" \
               f"assert s({repo.name!r}) == {snapshot!r}\n" \
               f"assert h({repo.name!r}, 'deep/er/same-2.txt') == {snapshot!r} + '/deep/er/same-2.txt'\n" \
               f"assert open(t({repo.name!r}, 'same-1.txt')).read() == 'same'\n" \
               "found = scan_cache_dir()\n" \
               "assert not found.warnings and not found.incomplete_files, (found.warnings, found.incomplete_files)\n" \
               f"assert [(r.repo_id, r.nb_files) for r in found.repos] == [({repo.name!r}, 12)]  # of 13 files two are one content"
        python(code, "http://127.0.0.1:9", home, HF_HUB_OFFLINE="1")

    def test_transformers_loads_it_offline(self):
        names = [n for n in os.listdir(MODEL) if os.path.isfile(os.path.join(MODEL, n))]
        data = {n: content(os.path.join(MODEL, n)) for n in names}
        weights = {n: d for n, d in data.items() if n.endswith(".safetensors")}
        repo = self.hub.add(Repo("finch-tests/tiny-bert", {n: d for n, d in data.items() if n not in weights}, weights))
        home = folder(self)
        with self.hub:
            fetch_json(self.hub, home, repo.name)
        code = "from transformers import AutoTokenizer as T, AutoModelForSequenceClassification as M\n" \
               "def ask(where):\n" \
               "    tokens = T.from_pretrained(where)('shares of $AAPL jump', return_tensors='pt')\n" \
               "    return M.from_pretrained(where)(**tokens).logits\n" \
               f"assert ask({repo.name!r}).equal(ask({MODEL!r}))"
        python(code, "http://127.0.0.1:9", home, HF_HUB_OFFLINE="1")


if __name__ == "__main__":
    unittest.main()
