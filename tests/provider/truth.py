"""The stand-in's own class of a text: a deterministic function of the text alone, so a test can tell for any label in any
output whether it is the one the provider gave for that very tweet. It knows nothing of finance."""
import hashlib

CLASSES = ("STRONGLY_NEGATIVE", "NEGATIVE", "NEUTRAL", "POSITIVE", "STRONGLY_POSITIVE")


def draw(*parts):
    """A number in [0, 1) that depends on the parts alone."""
    digest = hashlib.sha256("\0".join(map(str, parts)).encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:6], "big") / 2 ** 48


def class_of(text, model="", noise=0.0, vote=""):
    """The class of a text. A model with noise takes another class for that share of the texts, always the same ones;
    with `vote` (temperature above 0) the share is drawn anew for each vote."""
    at = int(draw("class", text) * len(CLASSES))
    if noise > 0 and draw("noise", model, vote, text) < noise:
        at = (at + 1 + int(draw("other", model, vote, text) * (len(CLASSES) - 1))) % len(CLASSES)
    return CLASSES[at]
