"""What the stand-in does wrong, by rule. A rule is a JSON object with a "fault", what that fault takes, and who it strikes:

    share 0.1      that share of the requests, drawn with the configuration's seed
    every 7        each 7th request that the rule could strike
    first 3        only the first 3 of them          after 20      none of the first 20
    most 5         at most 5 strikes in all
    text "abc"     requests with a tweet that has abc in it      model, key    only these
    alone true     only requests with one tweet (false: only those with more)

The first rule that strikes counts. Faults, by where they strike:

    instead of an answer
      status       an HTTP error: status, retry_after (seconds, as written; {"date": s} for a date s seconds ahead), html true for a page
      hang         nothing comes at all, until the client gives up
      revoked      401 as for a key that was withdrawn       credits   402
      redirect     307 to `location`: a client must not carry its key there
      slow         the good answer, `seconds` later
    in the content of the answer (the model's own text)
      bad_content, missing, extra, foreign, duplicate, unknown_class, string_numbers, fenced, prose, refusal, filtered, empty, truncated
    in the body of the answer
      bad_body     JSON that stops in the middle             error_in_200  200 with an error instead of choices
      mid_error    a choice that ended with an error         padding       blank lines before the JSON, as OpenRouter sends while it waits
      huge         `megabytes` of blanks in the content
    on the wire
      reset        the connection (HTTP/2: the stream) is reset after `bytes`, a third of the body otherwise
      close        the connection ends in order in mid-body
      stall        a third of the body comes, then nothing
      drip         the body comes in 20 pieces over `seconds`
"""
import json
import random

from truth import CLASSES

CONTENT = ("bad_content", "missing", "extra", "foreign", "duplicate", "unknown_class", "string_numbers", "fenced", "prose", "refusal", "filtered",
           "empty", "truncated")
BODY = ("bad_body", "error_in_200", "mid_error", "padding", "huge")
WIRE = ("reset", "close", "stall", "drip")
INSTEAD = ("status", "hang", "revoked", "credits", "redirect", "slow")
ALL = CONTENT + BODY + WIRE + INSTEAD
# Every tweet of these answers has its right class in it, however it is wrapped.
WHOLE = {"slow", "drip", "padding", "fenced", "prose", "string_numbers"}
# A tweet of these answers is spoilt, the others are answered. Not so where a number comes that was not asked, or the last
# one is missing: the model counted otherwise than we do, and every row may be another tweet's.
PARTLY = {"missing", "duplicate", "unknown_class"}


class Rules:
    def __init__(self, rules, seed):
        for rule in rules:
            if rule.get("fault") not in ALL:
                raise ValueError(f"there is no fault {rule.get('fault')!r}")
        self.rules = [dict(rule, seen=0, struck=0) for rule in rules]
        self.draw = random.Random(seed)

    def strike(self, key, model, rows):
        """The rule that strikes a request, or None."""
        for rule in self.rules:
            if "model" in rule and rule["model"] != model or "key" in rule and rule["key"] != key:
                continue
            if "text" in rule and not any(rule["text"] in text for _, text in rows or ()):
                continue
            if "alone" in rule and rule["alone"] != (len(rows or ()) == 1):
                continue
            rule["seen"] += 1
            if rule["seen"] <= rule.get("after", 0) or "first" in rule and rule["seen"] > rule["first"]:
                continue
            if "every" in rule and rule["seen"] % rule["every"] or rule["struck"] >= rule.get("most", 1 << 60):
                continue
            if "share" in rule and self.draw.random() >= rule["share"]:
                continue
            rule["struck"] += 1
            return rule
        return None


def spoil_content(fault, labels, chance):
    """(the model's text, places of `labels` that are answered in it, finish_reason, refusal)."""
    good = list(range(len(labels)))
    spoilt = chance.randrange(len(labels)) if labels else 0
    rest = [at for at in good if at != spoilt]
    text = json.dumps({"labels": labels})
    if fault == "bad_content":
        return text[:-2].replace('"label"', "label"), [], "stop", None
    if fault == "missing":
        return json.dumps({"labels": [labels[at] for at in rest]}), rest if spoilt < len(labels) - 1 else [], "stop", None
    if fault in ("extra", "foreign"):
        n = max(label["n"] for label in labels) + (1 if fault == "extra" else 1000)
        return json.dumps({"labels": labels + [{"n": n, "label": "NEUTRAL"}]}), [], "stop", None
    if fault == "duplicate":
        other = CLASSES[(CLASSES.index(labels[spoilt]["label"]) + 2) % len(CLASSES)]
        return json.dumps({"labels": labels + [{"n": labels[spoilt]["n"], "label": other}]}), rest, "stop", None
    if fault == "unknown_class":
        changed = [dict(label) for label in labels]
        changed[spoilt]["label"] = "BULLISH-ISH"
        return json.dumps({"labels": changed}), rest, "stop", None
    if fault == "string_numbers":
        return json.dumps({"labels": [{"n": str(label["n"]), "label": label["label"]} for label in labels]}), good, "stop", None
    if fault == "fenced":
        return "```json\n" + json.dumps({"labels": labels}, indent=1) + "\n```", good, "stop", None
    if fault == "prose":
        return f"Sure! Here are the labels you asked for:\n\n{text}\n\nLet me know if you need [anything] else {{really}}.", good, "stop", None
    if fault == "refusal":
        return None, [], "stop", "I'm sorry, but I can't help with that."
    if fault == "filtered":
        return "", [], "content_filter", None
    if fault == "empty":
        return "", [], "stop", None
    if fault == "truncated":
        return text[:len(text) * 2 // 3], [], "length", None
    return text, good, "stop", None


def spoil_body(fault, body, rule):
    """The bytes of the body, spoilt."""
    text = json.dumps(body)
    if fault == "bad_body":
        return text[:len(text) // 2].encode()
    if fault == "error_in_200":
        return json.dumps({"error": {"message": "Provider returned error", "code": 502, "metadata": {"provider_name": "Stand-in", "raw": "overloaded"}},
                           "user_id": "user_standin"}).encode()
    if fault == "mid_error":
        choice = body["choices"][0]
        choice["message"]["content"] = (choice["message"]["content"] or "")[:20]
        choice["finish_reason"], choice["error"] = "error", {"code": 502, "message": "Upstream error: connection lost"}
        return json.dumps(body).encode()
    if fault == "padding":
        return ("\n         " * 40 + text).encode()
    if fault == "huge":
        body["choices"][0]["message"]["content"] = " " * int(rule.get("megabytes", 64) * 1e6) + (body["choices"][0]["message"]["content"] or "")
        return json.dumps(body).encode()
    return text.encode()
