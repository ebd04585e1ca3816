"""What the proofs of finch label share: unique tweets, the command, and the questions to the output and the stand-in's ledger."""
import csv
import os
import random
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "cli"))
sys.path.insert(0, os.path.join(HERE, "..", "provider"))
from finch_cli import PROGRAM  # noqa: E402
from truth import CLASSES, class_of  # noqa: E402

FULL = os.environ.get("FINCH_PROOF") == "full"
SEED = int(os.environ.get("FINCH_SEED", "20261127"))
KEY = "sk-standin-Zk3v9Qw7Lr2Xt8Nb5Mc1"

# Waits that are right for a provider on this machine: a hang costs seconds, not minutes. They stay far above what a busy
# machine makes of the stand-in's latency, since an answer that comes when nobody waits any more is paid for and lost.
TIMEOUT_SECONDS = 8
HASTE = ("--backoff", "0.05", "--timeout", TIMEOUT_SECONDS + 2, "--first-byte-timeout", TIMEOUT_SECONDS, "--give-up", "60", "--attempts", "8")

# A tenth of the requests meets one of these, each as likely as the others.
FAULTS = [{"fault": "status", "status": 429}, {"fault": "status", "status": 429, "retry_after": 1}, {"fault": "status", "status": 429, "retry_after": {"date": 1}},
          {"fault": "status", "status": 500}, {"fault": "status", "status": 502, "html": True}, {"fault": "status", "status": 503, "retry_after": 1},
          {"fault": "hang", "most": 2}, {"fault": "stall", "most": 2}, {"fault": "drip", "seconds": 0.5}, {"fault": "slow", "seconds": 0.5}, {"fault": "reset"}, {"fault": "close"},
          {"fault": "bad_content"}, {"fault": "missing"}, {"fault": "extra"}, {"fault": "foreign"}, {"fault": "duplicate"}, {"fault": "unknown_class"},
          {"fault": "string_numbers"}, {"fault": "fenced"}, {"fault": "prose"}, {"fault": "refusal"}, {"fault": "filtered"}, {"fault": "empty"},
          {"fault": "truncated"}, {"fault": "bad_body"}, {"fault": "error_in_200"}, {"fault": "mid_error"}, {"fault": "padding"}]


def faults(share, silent=True):
    """Rules that strike so large a share of all requests together; silent: also those that time-outs alone end."""
    chosen = [rule for rule in FAULTS if silent or rule["fault"] not in ("hang", "stall")]
    left, rules = 1.0, []
    for rule in chosen:
        # A rule is asked only where the ones before it did not strike.
        rules.append({**rule, "share": share / len(chosen) / left})
        left -= share / len(chosen)
    return rules


def tweets(n, seed=SEED):
    """n texts, no two equal, with what texts on the wire stumble over."""
    draw = random.Random(seed)
    spice = ["", "", "", " \u20ac", " \U0001f680\U0001f680", ' "quoted"', " [1]", " {\"n\":1}", " back\\slash", " \u6f22\u5b57", " \t tab", " <b>", " 100%", "\nnext line"]
    return [f"${draw.choice(['AAPL', 'TSLA', 'IBM', 'MSFT', 'GE'])} {draw.choice(['up', 'down', 'flat'])} {draw.randrange(10**9):09d} #{at}{draw.choice(spice)}"
            for at in range(n)]


def write_input(folder, texts, name="tweets.csv"):
    path = os.path.join(folder, name)
    with open(path, "w", encoding="utf-8", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["tweet_id", "text"])
        rows.writerows(enumerate(texts))
    return path


def read_output(path):
    with open(path, encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def command(provider, source, output, state, *more, model="standin/five"):
    return [PROGRAM, "label", "--input", source, "--output", output, "--state", state, "--text-column", "text", "--provider-url", provider.url,
            "--model", model, *map(str, more)]


def environment(provider, key=KEY, **more):
    """No key and no proxy of the surroundings gets in."""
    kept = {name: value for name, value in os.environ.items() if "API_KEY" not in name and "proxy" not in name.lower()}
    if provider.ca_file:
        kept["FINCH_CA_BUNDLE"] = provider.ca_file
    if key is not None:
        kept["OPENAI_API_KEY"] = key
    return {**kept, **more}


def run(words, env, timeout=300):
    done = subprocess.run(words, env=env, capture_output=True, timeout=timeout)
    done.stdout, done.stderr = done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
    return done


def check_output(case, path, texts):
    """Each tweet once and in order, with the stand-in's own class or with a reason. Gives the texts set aside."""
    rows = read_output(path)
    case.assertEqual([str(at) for at in range(len(texts))], [row["tweet_id"] for row in rows])
    aside = set()
    for row, text in zip(rows, texts):
        case.assertEqual(text, row["text"])
        if row["label"] == "":
            case.assertNotEqual("", row["label_reason"], f"{text!r} has neither a label nor a reason")
            aside.add(text)
        else:
            case.assertIn(row["label"], CLASSES)
            case.assertEqual(class_of(text), row["label"], f"{text!r} has another tweet's class")
    return aside


def story(provider, texts):
    """For messages: when each of some texts was asked and what came of it."""
    lines = []
    for text in sorted(texts)[:3]:
        lines.append(repr(text))
        for came, over in provider.requests().values():
            if text in came.get("texts", ()):
                end = f"{over['fault'] or 'good'} {over['status']} after {over['at_ms'] - came['at_ms']:.0f} ms, answered {text in over['answered']}" if over else "never over"
                lines.append(f"  {came['at_ms'] / 1000:.3f} request {came['id']} with {len(came['texts'])} texts: {end}")
    return "\n".join(lines)


def given_up(provider):
    """Texts of answers that took so long that nobody may have waited any more (on a machine that is very busy)."""
    texts = set()
    for came, over in provider.requests().values():
        if over is not None and over["answered"] and over["at_ms"] - came["at_ms"] > TIMEOUT_SECONDS * 500:
            texts.update(over["answered"])
    return texts


def check_paid_once(case, provider, texts, excused=frozenset()):
    """No tweet was answered twice, but for those excused (in flight at a kill); none was answered that is not ours."""
    answers = provider.answers()
    case.assertEqual(set(), set(answers) - set(texts))
    twice = {text for text, n in answers.items() if n > 1} - set(excused) - given_up(provider)
    case.assertEqual(0, len(twice), f"texts paid for twice, among them\n{story(provider, twice)}")
    return answers
