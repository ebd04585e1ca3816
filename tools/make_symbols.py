"""Makes data/symbols/symbols.tsv and data/symbols/names.tsv: the table that finch's tickers are checked against.

    python tools/make_symbols.py COMPANY_TICKERS.parquet WORDS

COMPANY_TICKERS.parquet is edgar/reference/data/company_tickers.parquet of the PyPI package edgartools 5.62.1 (MIT), a copy of
the company list of the US Securities and Exchange Commission (public domain), in order of market value. WORDS is a list
of English words, one a line (Debian's wamerican-large: /usr/share/dict/american-english-large): a company whose name is such a word is
not known by it. data/symbols/former.tsv (former symbols and funds) and data/symbols/aliases.tsv (names as people write
them, each with its rule) are written by hand and go before what is derived here.
"""
import collections
import os
import re
import sys

import pyarrow.parquet

FOLDER = os.path.join(os.path.dirname(__file__), "..", "data", "symbols")
RANKS_WITH_NAMES = 2500  # the smaller a company, the likelier its name means something else
RANKS_WITH_PLAIN_WORDS = 600
EXCHANGES = {"Nasdaq": "NASDAQ", "NYSE": "NYSE", "CBOE": "Cboe BZX", "OTC": "OTC", None: "not listed"}

LEGAL = set("inc incorporated corp corporation co company companies ltd limited plc sa nv ag se spa ab group holdings holding "
            "the adr ads lp llc new class a com international".split())
KINDS = set("technologies technology systems pharmaceuticals platforms motors motor wholesale stores industries brands bancorp "
            "financial energy entertainment networks software labs therapeutics laboratories communications solutions services "
            "resources airlines pharma biosciences".split())


def read(name):
    with open(os.path.join(FOLDER, name), encoding="utf-8") as file:
        rows = [line.rstrip("\n").split("\t") for line in file]
    assert all(len(row) == 3 for row in rows), name
    return rows[1:]


def write(name, header, rows):
    with open(os.path.join(FOLDER, name), "w", encoding="utf-8") as file:
        for row in [header, *rows]:
            assert not any("\t" in cell or "\n" in cell for cell in row)
            file.write("\t".join(row) + "\n")


def words(name):
    """A name as the matcher compares it: letters and digits in lower case, anything else parts them."""
    return re.findall(r"[a-z0-9]+", name.lower())


def company_words(name):
    name = re.sub(r"\s*/.*$", "", name)  # "/DE/": where it is registered
    parts = words(name)
    while len(parts) > 1 and (parts[-1] in LEGAL or len(parts[-1]) == 1):
        parts.pop()
    return parts[1:] if len(parts) > 1 and parts[0] == "the" else parts


def derived(companies, dictionary):
    """alias -> (symbol, rule) for names that are a company's alone."""
    owners, ranks = collections.defaultdict(set), {}
    for rank, row in enumerate(companies):
        parts = company_words(row["name"])
        short = list(parts)
        while len(short) > 1 and (short[-1] in KINDS or short[-1] in LEGAL):
            short.pop()
        for form in {" ".join(parts), " ".join(short)}:
            owners[form].add(row["cik"])
            if row["exchange"] in ("Nasdaq", "NYSE") and form not in ranks and rank < RANKS_WITH_NAMES:
                ranks[form] = (rank, row["ticker"].replace("-", "."))
    for form, (rank, symbol) in sorted(ranks.items()):
        parts = form.split()
        known = [part in dictionary or part.isdigit() or len(part) < 3 for part in parts]
        if len(owners[form]) > 1 or (len(parts) == 1 and (known[0] or len(form) < 5)):
            continue
        if not all(known):
            yield form, symbol, "any" if len(form) >= 6 else "capital"
        elif rank < RANKS_WITH_PLAIN_WORDS:
            yield form, symbol, "capital"


def main(tickers, word_list):
    companies = pyarrow.parquet.read_table(tickers).to_pylist()
    with open(word_list, encoding="utf-8") as file:
        dictionary = {word.strip().lower() for word in file}
    symbols = {row["ticker"].replace("-", "."): (row["name"], EXCHANGES[row["exchange"]]) for row in reversed(companies)}
    for symbol, name, exchange in read("former.tsv"):
        symbols.setdefault(symbol, (name, exchange))
    write("symbols.tsv", ("symbol", "name", "exchange"), [(s, *symbols[s]) for s in sorted(symbols)])
    names = {alias: (symbol, rule) for alias, symbol, rule in derived(companies, dictionary)}
    for alias, symbol, rule in read("aliases.tsv"):
        names[" ".join(words(alias))] = (symbol, rule)
    assert all(symbol in symbols for symbol, _ in names.values()), [s for s, _ in names.values() if s not in symbols]
    write("names.tsv", ("alias", "symbol", "rule"), [(n, *names[n]) for n in sorted(names)])


if __name__ == "__main__":
    main(*sys.argv[1:])
