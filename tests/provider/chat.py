"""The chat completions protocol as OpenAI and OpenRouter speak it: what a request must look like, what an answer and an
error look like. Written from their published references; both styles differ in their errors and in what they tolerate."""
import json
import re
import time

from truth import CLASSES, class_of, draw

PARAMETERS = {"model", "messages", "response_format", "temperature", "top_p", "n", "seed", "stop", "max_tokens", "max_completion_tokens",
              "presence_penalty", "frequency_penalty", "logit_bias", "logprobs", "top_logprobs", "user", "stream", "stream_options", "store",
              "metadata", "reasoning_effort", "service_tier", "tools", "tool_choice", "parallel_tool_calls"}
ROLES = {"system", "developer", "user", "assistant", "tool"}


class Refused(Exception):
    """An error of the provider: its HTTP status and the JSON body."""

    def __init__(self, status, body):
        super().__init__(status)
        self.status, self.body = status, body


def error(style, status, message, kind="invalid_request_error", code=None, param=None):
    if style == "openrouter":
        return Refused(status, {"error": {"message": message, "code": status}, "user_id": "user_standin"})
    return Refused(status, {"error": {"message": message, "type": kind, "param": param, "code": code}})


def tokens(text):
    return len(text.encode("utf-8", "surrogatepass")) // 4 + 1


def _check_schema(schema, style, where="response_format.json_schema.schema"):
    """Strict schemas: every object closed, every property required. That is what the real service refuses."""
    if not isinstance(schema, dict):
        raise error(style, 400, f"{where} is not an object")
    if schema.get("type") == "object":
        properties = schema.get("properties", {})
        if schema.get("additionalProperties") is not False:
            raise error(style, 400, f"Invalid schema: in {where}, 'additionalProperties' is required to be supplied and to be false",
                        param="response_format")
        if sorted(schema.get("required", [])) != sorted(properties):
            raise error(style, 400, f"Invalid schema: in {where}, 'required' must name every property", param="response_format")
        for name, inner in properties.items():
            _check_schema(inner, style, f"{where}.{name}")
    elif schema.get("type") == "array":
        _check_schema(schema.get("items"), style, where + ".items")


def _check_format(wanted, style, model, messages):
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if kind not in ("text", "json_object", "json_schema"):
        raise error(style, 400, "Invalid value: response_format.type must be 'text', 'json_object' or 'json_schema'", param="response_format.type")
    if model.get("response_format") == "llama":
        # llama-cpp-python's server (0.3.36) knows no json_schema and says so with a 500.
        if kind == "json_schema":
            raise Refused(500, {"error": {"message": "1 validation error:\n  {'type': 'literal_error', 'loc': ('body', 'response_format', 'type'), 'msg': \"Input "
                                          "should be 'text' or 'json_object'\", 'input': 'json_schema'}", "type": "internal_server_error",
                                          "param": None, "code": None}})
        return
    if style == "openai" and "schema" in wanted:
        raise error(style, 400, "Unknown parameter: 'response_format.schema'.", param="response_format.schema", code="unknown_parameter")
    if kind == "json_schema" and model.get("response_format") == "object":
        raise error(style, 400, "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model. It knows 'json_object'.",
                    param="response_format")
    if kind == "json_object" and not any("json" in text_of(message).lower() for message in messages):
        raise error(style, 400, "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.", param="messages")
    if kind != "text" and not model.get("response_format", True):
        raise error(style, 400, "response_format is not supported by this model", param="response_format", code="unsupported_parameter")
    if kind == "json_schema":
        inner = wanted.get("json_schema")
        if not isinstance(inner, dict) or not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", str(inner.get("name", ""))):
            raise error(style, 400, "Missing or invalid response_format.json_schema.name", param="response_format.json_schema.name")
        if "schema" not in inner:
            raise error(style, 400, "Missing required parameter: response_format.json_schema.schema", param="response_format.json_schema")
        if inner.get("strict"):
            _check_schema(inner["schema"], style)


def _number(body, name, low, high, style, whole=False):
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or not low <= value <= high:
        raise error(style, 400, f"Invalid '{name}': must lie between {low} and {high}", param=name)
    return value


def check(request, config):
    """The parsed body of a good request; Refused otherwise."""
    style = config["style"]
    if "application/json" not in request.headers.get("content-type", ""):
        raise error(style, 415 if style == "openrouter" else 400, "Content-Type must be application/json")
    try:
        body = json.loads(request.body)
    except ValueError:
        raise error(style, 400, "We could not parse the JSON body of your request.") from None
    if not isinstance(body, dict):
        raise error(style, 400, "The body is not a JSON object")
    if style == "openai":
        for name in body:
            if name not in PARAMETERS:
                raise error(style, 400, f"Unrecognized request argument supplied: {name}")
    model = config["models"].get(body.get("model"))
    if model is None:
        raise error(style, 400 if style == "openrouter" else 404, f"{body.get('model')} is not a valid model ID", code="model_not_found", param="model")
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise error(style, 400, "[] is too short - 'messages'", param="messages")
    for at, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in ROLES or not isinstance(message.get("content"), (str, list)):
            raise error(style, 400, f"Invalid 'messages[{at}]'", param=f"messages[{at}]")
    if body.get("stream"):
        raise error(style, 400, "the stand-in does not stream", param="stream")
    _number(body, "temperature", 0, 2, style)
    _number(body, "top_p", 0, 1, style)
    _number(body, "n", 1, 8, style, whole=True)
    _number(body, "top_logprobs", 0, 20, style, whole=True)
    for name in ("max_tokens", "max_completion_tokens"):
        _number(body, name, 1, 1 << 20, style, whole=True)
    if "response_format" in body:
        _check_format(body["response_format"], style, model, messages)
    if body.get("logprobs") and not model.get("logprobs", True):
        raise error(style, 400, "logprobs is not supported by this model", param="logprobs")
    used = sum(tokens(text_of(message)) for message in messages)
    if used > model.get("context", 1 << 20):
        raise error(style, 400, f"This model's maximum context length is {model['context']} tokens, your messages have {used}",
                    code="context_length_exceeded", param="messages")
    return body


def wished(request):
    """For the ledger: the model and the form of answer that a request is for, also where it is refused."""
    try:
        body = json.loads(request.body)
        wanted = body.get("response_format") or {}
        return {"model": body.get("model"), "format": "guided" if "schema" in wanted else wanted.get("type")}
    except (ValueError, AttributeError):
        return {"model": None, "format": None}


def text_of(message):
    content = message["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content if isinstance(part, dict))


def asked(body):
    """[(number, text)] of the JSON array that ends the last user message; None where there is none."""
    users = [message for message in body["messages"] if message["role"] == "user"]
    content = text_of(users[-1]).rstrip() if users else ""
    at = -1
    while (at := content.find("[", at + 1)) >= 0:
        try:
            rows = json.loads(content[at:])
        except ValueError:
            continue
        if isinstance(rows, list) and rows and all(isinstance(row, dict) and "n" in row and isinstance(row.get("text"), str) for row in rows):
            return [(row["n"], row["text"]) for row in rows]
    return None


def labels_of(rows, body, config, vote):
    model = config["models"][body["model"]]
    vote = vote if (body.get("temperature") or 0) > 0 else ""
    return [{"n": n, "label": class_of(text, body["model"], model.get("noise", 0.0), vote)} for n, text in rows]


def confidence_of(text):
    return 0.5 + 0.5 * draw("confidence", text)


def _logprobs(content, rows, top):
    """One entry a token; a class takes one token, with the confidence of its tweet."""
    import math
    texts = iter([text for _, text in rows])
    out = []
    for token in re.findall(r"\w+|\s+|[^\w\s]", content):
        p = 0.999
        if token in CLASSES:
            p = confidence_of(next(texts, ""))
        entry = {"token": token, "logprob": math.log(p), "bytes": list(token.encode())}
        others = [name for name in CLASSES if name != token] if token in CLASSES else []
        entry["top_logprobs"] = [{key: entry[key] for key in ("token", "logprob", "bytes")}] + [
            {"token": name, "logprob": math.log((1 - p) / 4 + 1e-9), "bytes": list(name.encode())} for name in others]
        entry["top_logprobs"] = entry["top_logprobs"][:top]
        out.append(entry)
    return {"content": out, "refusal": None}


def completion(identity, body, contents, rows, config):
    """The body of a good answer. contents: one message text a choice."""
    limit = body.get("max_completion_tokens") or body.get("max_tokens") or 1 << 20
    prompt = sum(tokens(text_of(message)) for message in body["messages"])
    choices, made = [], 0
    for at, content in enumerate(contents):
        finish = "stop"
        if tokens(content) > limit:
            content, finish = content[:limit * 4], "length"
        made += tokens(content)
        choice = {"index": at, "message": {"role": "assistant", "content": content, "refusal": None}, "logprobs": None, "finish_reason": finish}
        if body.get("logprobs"):
            choice["logprobs"] = _logprobs(content, rows, body.get("top_logprobs") or 0)
        if config["style"] == "openrouter":
            choice["native_finish_reason"] = finish
        choices.append(choice)
    usage = {"prompt_tokens": prompt, "completion_tokens": made, "total_tokens": prompt + made,
             "prompt_tokens_details": {"cached_tokens": 0}, "completion_tokens_details": {"reasoning_tokens": 0}}
    out = {"id": f"chatcmpl-{identity}", "object": "chat.completion", "created": int(time.time()), "model": body["model"],
           "choices": choices, "usage": usage}
    if config["style"] == "openrouter":
        out["provider"] = "Stand-in"
        usage["cost"] = cost(body["model"], prompt, made, config)
    return out


def cost(name, prompt, made, config):
    model = config["models"][name]
    return prompt * model.get("prompt_price", 0) + made * model.get("completion_price", 0)


def model_list(config):
    rows = []
    for name, model in config["models"].items():
        row = {"id": name, "object": "model", "created": 1700000000, "owned_by": "stand-in"}
        if config["style"] == "openrouter":
            supported = ["max_tokens", "temperature", "seed"] + (["response_format", "structured_outputs"] if model.get("response_format", True) else [])
            row.update(name=name, context_length=model.get("context", 1 << 20), supported_parameters=supported,
                       pricing={"prompt": f"{model.get('prompt_price', 0):.12f}", "completion": f"{model.get('completion_price', 0):.12f}",
                                "request": "0", "image": "0"})
        rows.append(row)
    return {"object": "list", "data": rows}
