"""Makes tweets.parquet beside this file: 10,000 tweets of data/stocknet/tweets.parquet in the order of their time, chosen
by the hash of their ids, so that every ticker and month has its share and the choice is always the same."""
import hashlib
import os

import pyarrow as pa
import pyarrow.parquet as pq

HERE = os.path.dirname(os.path.abspath(__file__))
N_TWEETS = 10000


def main():
    table = pq.read_table(os.path.join(HERE, "..", "stocknet", "tweets.parquet"))
    ids = table["tweet_id"].to_pylist()
    by_hash = sorted(range(len(ids)), key=lambda i: (hashlib.sha256(str(ids[i]).encode()).digest(), i))
    chosen = table.take(pa.array(sorted(by_hash[:N_TWEETS])))
    chosen = chosen.sort_by([("post_date", "ascending"), ("tweet_id", "ascending")])
    pq.write_table(chosen, os.path.join(HERE, "tweets.parquet"), compression="zstd", compression_level=19)


if __name__ == "__main__":
    main()
