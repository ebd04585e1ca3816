"""Where a model lies: a path, a name in FINCH_MODELS or the package, or what finch fetch (or huggingface_hub) put into the cache."""
from __future__ import annotations

import os
import pathlib
import re

from . import _native
from ._errors import NotFoundError, UsageError

DEFAULT = "finch-mini-5"
HUB_NAME = re.compile(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)?")


def model(given: str | os.PathLike[str] | None) -> str:
    """The folder or file of a model. Raises NotFoundError with the places that were looked at."""
    name: str = DEFAULT if given is None else os.fspath(given)
    if not isinstance(name, str) or not name or "\0" in name:
        raise UsageError(f"a model is a path or a name, not {name!r}", status="E_USAGE")
    if given is not None and os.path.exists(name):
        return name
    places = [*_named(name), *_cached(name)]
    for place in places:
        if (place / "config.json").exists():
            return str(place)
    looked = ", ".join(str(place) for place in [pathlib.Path(name), *places])
    raise NotFoundError(f"there is no model {name}; looked at {looked}; name a folder with config.json or a GGUF file, or fetch it: "
                        f"finch fetch {name}", status="E_NOT_FOUND")


def _named(name: str) -> list[pathlib.Path]:
    if "/" in name:
        return []
    listed = [pathlib.Path(folder) for folder in os.environ.get("FINCH_MODELS", "").split(":") if folder]
    return [folder / name for folder in [*listed, _native.HERE / "models"]]


def _cached(name: str) -> list[pathlib.Path]:
    """The newest snapshot of main, in the layout of huggingface_hub's cache."""
    if not HUB_NAME.fullmatch(name):
        return []
    folder = _hub_cache() / ("models--" + name.replace("/", "--"))
    try:
        commit = (folder / "refs" / "main").read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return [folder]
    return [folder / "snapshots" / commit] if re.fullmatch(r"[0-9a-f]{40}", commit) else [folder]


def _hub_cache() -> pathlib.Path:
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if os.environ.get(variable):
            return pathlib.Path(os.environ[variable]).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("HF_HOME") or os.path.join(cache, "huggingface")
    return pathlib.Path(home).expanduser() / "hub"
