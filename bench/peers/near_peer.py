"""Near-duplicate clusters by datasketch's MinHashLSH: one run, one JSON line.

MinHash.bulk (its fast way: one numpy call a text), 128 permutations as it recommends, threshold 0.8, shingles of five bytes of the lowered text as
finch has them; insert and query each text, union-find over the answers."""
import argparse
import json
import time

from datasketch import MinHash, MinHashLSH


def shingles(text):
    data = text.lower().encode()
    return {data[i:i + 5] for i in range(max(1, len(data) - 4))}


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--input", required=True)
    options.add_argument("--rows", type=int, required=True)
    chosen = options.parse_args()
    import pyarrow.parquet as parquet
    texts = parquet.read_table(chosen.input, columns=["text"])["text"].slice(0, chosen.rows).to_pylist()
    begin = time.perf_counter()
    index, parent = MinHashLSH(threshold=0.8, num_perm=128), list(range(len(texts)))

    def root(at):
        while parent[at] != at:
            parent[at] = parent[parent[at]]
            at = parent[at]
        return at

    for number, sketch in enumerate(MinHash.generator((shingles(text) for text in texts), num_perm=128)):
        for other in index.query(sketch):
            parent[root(number)] = root(other)
        index.insert(number, sketch)
    clusters = len({root(at) for at in range(len(texts))})
    seconds = time.perf_counter() - begin
    print(json.dumps({"rows": len(texts), "clusters": clusters, "seconds": seconds, "seconds_per_row": seconds / len(texts)}))


if __name__ == "__main__":
    main()
