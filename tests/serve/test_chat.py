"""Chat completions: the real openai client, forms held against jsonschema, many at once, limits, clients that leave. The models are small
random ones (chat_model.py). FINCH_PROOF=full: the real Gemma 3 270M labels twenty tweets for finch label.

    FINCH=build/finch python tests/serve/test_chat.py
"""
import concurrent.futures
import csv
import json
import os
import socket
import subprocess
import tempfile
import time
import unittest

import chat_model
import jsonschema
import openai
from finch_server import PROGRAM, PROOF, SOURCE, TINY, Server, ServerTest

ASK = [{"role": "user", "content": "Is $AAPL up?"}]
ROWS = {"type": "object", "required": ["labels"], "additionalProperties": False, "properties": {"labels": {
    "type": "array", "minItems": 2, "maxItems": 2, "items": {"type": "object", "required": ["n", "label"], "additionalProperties": False, "properties": {
        "n": {"type": "integer", "enum": [1, 2]}, "label": {"type": "string", "enum": ["NEGATIVE", "NEUTRAL", "POSITIVE"]}}}}}}


class ChatTest(ServerTest):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="finch-chat-")
        cls.models = (TINY, chat_model.make(os.path.join(cls.folder.name, "tiny-chat")))
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.folder.cleanup()

    def client(self, **more):
        return openai.OpenAI(base_url=f"http://127.0.0.1:{self.server.port}/v1", api_key=more.pop("api_key", "none"), max_retries=0, **more)

    def ask(self, **more):
        return self.client().chat.completions.create(**{"model": "tiny-chat", "messages": ASK, "max_tokens": 20, "seed": 1, **more})

    def refused(self, parameter=None, status=400, **more):
        with self.assertRaises(openai.APIStatusError) as caught:
            self.ask(**more)
        self.assertEqual(caught.exception.status_code, status, caught.exception)
        self.assertTrue(caught.exception.body["message"])
        if parameter:
            self.assertEqual(caught.exception.param, parameter, caught.exception)
        return caught.exception


class Answers(ChatTest):
    def test_models(self):
        found = list(self.client().models.list())
        self.assertEqual([model.id for model in found], ["tiny-chat"])
        self.assertEqual(found[0].object, "model")

    def test_an_answer(self):
        answer = self.ask()
        self.assertEqual((answer.object, answer.model, len(answer.choices)), ("chat.completion", "tiny-chat", 1))
        self.assertEqual(answer.choices[0].message.role, "assistant")
        self.assertIn(answer.choices[0].finish_reason, ("stop", "length"))
        self.assertTrue(0 < answer.usage.completion_tokens <= 20)
        self.assertEqual(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens)
        self.assertTrue(answer.id.startswith("chatcmpl-"))
        self.assertLess(abs(answer.created - time.time()), 600)

    def test_it_is_what_finch_generate_says(self):
        done = subprocess.run([PROGRAM, "generate", "--model", self.models[1], "--prompt", ASK[0]["content"], "--system", "Be short.", "--max-tokens", "20",
                               "--temperature", "0.8", "--top-p", "0.9", "--seed", "7", "--json", "--quiet"], capture_output=True, text=True, check=True)
        said = json.loads(done.stdout)["answers"][0]
        answer = self.ask(messages=[{"role": "system", "content": "Be short."}, *ASK], temperature=0.8, top_p=0.9, seed=7)
        self.assertEqual(answer.choices[0].message.content, said["text"])
        self.assertEqual(answer.usage.prompt_tokens, said["prompt_tokens"])

    def test_seeds(self):
        texts = [self.ask(seed=seed).choices[0].message.content for seed in (1, 1, 2)]
        self.assertEqual(texts[0], texts[1])
        self.assertNotEqual(texts[0], texts[2])
        self.assertGreater(len({self.ask(seed=openai.omit).choices[0].message.content for _ in range(4)}), 1)

    def test_a_stream_says_what_the_whole_answer_says(self):
        for seed in range(4):
            whole = self.ask(seed=seed, max_tokens=40)
            chunks = list(self.ask(seed=seed, max_tokens=40, stream=True, stream_options={"include_usage": True}))
            self.assertEqual("".join(c.choices[0].delta.content or "" for c in chunks if c.choices), whole.choices[0].message.content)
            self.assertEqual(chunks[0].choices[0].delta.role, "assistant")
            self.assertEqual(chunks[-2].choices[0].finish_reason, whole.choices[0].finish_reason)
            self.assertEqual(chunks[-1].usage.completion_tokens, whole.usage.completion_tokens)
            self.assertEqual({c.id for c in chunks}, {chunks[0].id})

    def test_a_stream_ends_with_done(self):
        answer = self.server.post("/v1/chat/completions", {"messages": ASK, "max_tokens": 3, "stream": True})
        self.assertEqual((answer.status, answer.headers["Content-Type"]), (200, "text/event-stream"))
        events = answer.body.decode().split("\n\n")
        self.assertEqual(events[-2:], ["data: [DONE]", ""])
        for event in events[:-2]:
            json.loads(event.removeprefix("data: "))

    def test_stop_words(self):
        whole = self.ask(max_tokens=60, seed=5).choices[0].message.content
        stop = whole[10:14]
        cut = self.ask(max_tokens=60, seed=5, stop=["never said", stop])
        self.assertEqual(cut.choices[0].message.content, whole[:whole.index(stop)])
        self.assertEqual(cut.choices[0].finish_reason, "stop")
        streamed = "".join(c.choices[0].delta.content or "" for c in self.ask(max_tokens=60, seed=5, stop=stop, stream=True))
        self.assertEqual(streamed, whole[:whole.index(stop)])

    def test_log_probabilities(self):
        answer = self.ask(logprobs=True, top_logprobs=3, temperature=0)
        tokens = answer.choices[0].logprobs.content
        self.assertEqual(len(tokens), answer.usage.completion_tokens)
        for token in tokens:
            self.assertEqual(len(token.top_logprobs), 3)
            self.assertEqual(token.logprob, token.top_logprobs[0].logprob)
            self.assertLess(token.logprob, 0)
        self.assertEqual(b"".join(bytes(token.bytes) for token in tokens).decode("utf-8", "replace"), answer.choices[0].message.content)
        chunks = list(self.ask(logprobs=True, top_logprobs=3, temperature=0, stream=True))
        self.assertEqual([t.token for c in chunks if c.choices[0].logprobs for t in c.choices[0].logprobs.content], [t.token for t in tokens])

    def test_content_in_parts_and_a_conversation(self):
        parts = [{"role": "user", "content": [{"type": "text", "text": "Is $AAPL"}, {"type": "text", "text": " up?"}]}]
        self.assertEqual(self.ask(messages=parts).choices[0].message.content, self.ask().choices[0].message.content)
        turns = [{"role": "system", "content": "S"}, *ASK, {"role": "assistant", "content": "Yes."}, {"role": "user", "content": "Why?"}]
        self.assertGreater(self.ask(messages=turns).usage.prompt_tokens, self.ask().usage.prompt_tokens)

    def test_a_prompt_seen_before_is_not_read_again(self):
        messages = [{"role": "user", "content": "the stock market " * 40}]
        first, second = self.ask(messages=messages), self.ask(messages=messages)
        self.assertEqual(second.usage.prompt_tokens_details.cached_tokens, second.usage.prompt_tokens - 1)
        self.assertEqual(first.choices[0].message.content, second.choices[0].message.content)


class Forms(ChatTest):
    def test_a_schema(self):
        for seed in range(3):
            form = {"type": "json_schema", "json_schema": {"name": "labels", "strict": True, "schema": ROWS}}
            answer = self.ask(seed=seed, max_tokens=600, response_format=form)
            self.assertEqual(answer.choices[0].finish_reason, "stop")
            jsonschema.validate(json.loads(answer.choices[0].message.content), ROWS)

    def test_the_client_parses_its_own_models(self):
        import pydantic

        class Verdict(pydantic.BaseModel):
            up: bool
            reason: str = pydantic.Field(max_length=6)
        answer = self.client().chat.completions.parse(model="tiny-chat", messages=ASK, response_format=Verdict, max_tokens=400, seed=1)
        self.assertIsInstance(answer.choices[0].message.parsed, Verdict)

    def test_any_object_and_an_object_with_a_schema(self):
        answer = self.ask(max_tokens=600, response_format={"type": "json_object", "schema": ROWS})
        jsonschema.validate(json.loads(answer.choices[0].message.content), ROWS)
        found = [self.ask(seed=seed, max_tokens=200, response_format={"type": "json_object"}).choices[0] for seed in range(4)]
        for choice in found:
            self.assertTrue(choice.message.content.startswith("{"))
            if choice.finish_reason == "stop":
                self.assertIsInstance(json.loads(choice.message.content), dict)

    def test_what_is_not_read_is_said(self):
        form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object", "properties": {"a": {"type": "string", "pattern": "x"}}}}}
        error = self.refused("response_format", response_format=form)
        self.assertIn('"pattern"', error.body["message"])
        self.assertIn("response_format", error.body["message"])


class Refusals(ChatTest):
    def test_wrong_fields(self):
        self.refused("n", n=2)
        self.refused("frequency_penalty", frequency_penalty=0.5)
        self.refused("logit_bias", logit_bias={"5": 1})
        self.refused("temperature", temperature=3)
        self.refused("tools", tools=[{"type": "function", "function": {"name": "f"}}])
        self.refused("top_logprobs", logprobs=True, top_logprobs=21)
        self.refused("messages", messages=[])
        self.refused("messages.0.role", messages=[{"role": "tool", "content": "x"}])
        self.refused("messages.0.content", messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}])
        self.refused("messages", messages=[{"role": "assistant", "content": "x"}])
        self.refused("messages", messages=[*ASK, *ASK])
        self.refused("messages", messages=[{"role": "user", "content": "the stock " * 3000}])
        self.assertIn("--max-answer-tokens", str(self.refused(max_tokens=100000)))
        self.ask(n=1, presence_penalty=0, user="me", store=False)

    def test_other_models(self):
        self.refused("model", status=404, model="gpt-4")
        self.assertIn("no Gemma", str(self.refused("model", status=404, model="tiny-bert")))

    def test_what_is_no_request(self):
        for body in ("{", "[]", "{}"):
            answer = self.server.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
            self.assertEqual(answer.status, 400, body)
            self.assertEqual(set(answer.json["error"]), {"message", "type", "code", "param"})
        self.assertEqual(self.server.get("/v1/chat/completions").status, 405)


class ManyAtOnce(ChatTest):
    words = ("--chats-together", 3, "--max-chats", 40)

    def test_answers_do_not_depend_on_their_neighbours(self):
        def one(seed):
            form = {"type": "json_schema", "json_schema": {"name": "l", "schema": ROWS}}
            return self.ask(seed=seed, max_tokens=300, **({"response_format": form} if seed % 3 == 0 else {})).choices[0].message.content
        alone = [one(seed) for seed in range(9)]
        with concurrent.futures.ThreadPoolExecutor(9) as pool:
            self.assertEqual(list(pool.map(one, range(9))), alone)

    def test_clients_that_leave_end_their_answers(self):
        body = json.dumps({"messages": ASK, "max_tokens": 1000, "stop": ["never said"]}).encode()
        for stream in (False, True):
            sent = body if not stream else body.replace(b'"stop"', b'"stream": true, "stop"')
            head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(sent)
            for _ in range(4):
                with socket.create_connection(("127.0.0.1", self.server.port)) as s:
                    s.sendall(head + sent)
                    if stream:
                        self.assertTrue(s.recv(10))
        until = time.monotonic() + 60
        while self.server.said().count('"client_left"') < 4 and time.monotonic() < until:
            time.sleep(0.1)
        self.assertGreaterEqual(self.server.said().count('"client_left"'), 4)
        self.assertGreater(self.ask().usage.completion_tokens, 0)


class Full(ChatTest):
    words = ("--chats-together", 1, "--max-chats", 1, "--chat-ms", 1500)

    def test_the_queue_is_bounded(self):
        def one(_):
            answer = self.server.post("/v1/chat/completions", {"messages": ASK, "max_tokens": 1000, "temperature": 0, "stop": ["never said"]})
            return answer.status, answer.headers.get("Retry-After"), answer.body
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            found = list(pool.map(one, range(8)))
        self.assertIn(200, [status for status, _, _ in found])
        refused = [(after, json.loads(body)["error"]) for status, after, body in found if status == 503]
        self.assertGreaterEqual(len(refused), 3)
        for after, error in refused:
            self.assertTrue(int(after) >= 1)
            self.assertIn(error["code"], ("queue_full", "deadline_exceeded"))
            self.assertEqual(error["type"], "server_error")


class Keys(ChatTest):
    words = ("--require-keys", "--rate-limit", 3)

    def test_keys_and_rates(self):
        with self.assertRaises(openai.AuthenticationError) as caught:
            self.ask()
        self.assertEqual(caught.exception.type, "authentication_error")
        made = subprocess.run([PROGRAM, "keys", "create", "--name", "chat", "--scopes", "read,predict", "--json", "--state", os.path.join(self.server.folder, "state.sqlite")],
                              capture_output=True, text=True, check=True)
        client = self.client(api_key=json.loads(made.stdout)["key"])
        until = time.monotonic() + 20
        seen = []
        while "limited" not in seen and time.monotonic() < until:
            try:
                client.chat.completions.create(model="tiny-chat", messages=ASK, max_tokens=2)
                seen.append("answered")
            except openai.AuthenticationError:
                time.sleep(0.2)  # the new key is not known yet
            except openai.RateLimitError as error:
                self.assertTrue(error.response.headers["Retry-After"])
                seen.append("limited")
        self.assertEqual(seen[-1], "limited")
        self.assertIn("answered", seen)


class WithoutGemma(ServerTest):
    def test_it_says_so(self):
        answer = self.server.post("/v1/chat/completions", {"messages": ASK})
        self.assertEqual((answer.status, answer.json["error"]["code"]), (404, "no_chat_model"))
        self.assertIn("--model", answer.json["error"]["message"])
        self.assertEqual(self.server.get("/v1/models").json, {"object": "list", "data": []})


class Ending(unittest.TestCase):
    def test_answers_under_way_are_ended(self):
        with tempfile.TemporaryDirectory() as folder:
            server = Server("--drain-seconds", 0, models=(chat_model.make(os.path.join(folder, "tiny-chat")),))
            try:
                sockets = []
                for more in (b"", b', "stream": true'):
                    body = b'{"messages": [{"role": "user", "content": "x"}], "max_tokens": 1000' + more + b"}"
                    s = socket.create_connection(("127.0.0.1", server.port), timeout=60)
                    s.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                    sockets.append(s)
                time.sleep(0.3)
                self.assertEqual(server.stop(), 0, server.said()[-2000:])
                for s in sockets:
                    s.close()
            finally:
                server.remove()


@unittest.skipUnless(PROOF == "full", "FINCH_PROOF=full: minutes")
class RealModel(unittest.TestCase):
    def test_finch_label_with_a_gemma_that_finch_serves(self):
        import gemma_models
        path = gemma_models.gguf_file()
        server = Server("--compute", "int8", "--chat-ms", 1500000, models=(str(path),), ready=False)
        try:
            server.wait_ready(600)
            with tempfile.TemporaryDirectory() as folder:
                tweets = os.path.join(folder, "tweets.jsonl")
                with open(os.path.join(SOURCE, "data", "fintweets5", "valid.csv"), encoding="utf-8", newline="") as file:
                    rows = [row["text"] for row, _ in zip(csv.DictReader(file), range(20))]
                with open(tweets, "w", encoding="utf-8") as file:
                    file.writelines(json.dumps({"text": text}) + "\n" for text in rows)
                out = os.path.join(folder, "labels.jsonl")
                done = subprocess.run([PROGRAM, "label", "--input", tweets, "--output", out, "--provider-url", f"http://127.0.0.1:{server.port}/v1", "--model", path.name,
                                       "--batch", "5", "--in-flight", "4", "--timeout", "1500", "--first-byte-timeout", "1500", "--give-up", "1500", "--response-format", "guided", "--state", os.path.join(folder, "state.sqlite"), "--json"],
                                      capture_output=True, text=True, env={**os.environ, "OPENROUTER_API_KEY": "none-is-asked-for"}, timeout=1800)
                self.assertEqual(done.returncode, 0, done.stderr[-3000:])
                with open(out, encoding="utf-8") as lines:
                    labelled = [json.loads(line) for line in lines]
                self.assertEqual(len(labelled), 20)
                for row in labelled:
                    self.assertTrue(row["label"] in chat_model.LABELS or row["label_reason"], row)
                print(sum(bool(row["label"]) for row in labelled), "of 20 labelled;", done.stdout)
        finally:
            server.stop()
            server.remove()


if __name__ == "__main__":
    unittest.main(verbosity=2)
