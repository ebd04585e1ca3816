"""The service that people write: FastAPI, uvicorn, tokenizers and ONNX Runtime, one text a request.

    SERVE_PEER_MODEL=model-int8.onnx SERVE_PEER_TOKENIZER=tokenizer.json SERVE_PEER_THREADS=1 \\
        uvicorn --app-dir bench/peers serve_peer:app --port 8001 --workers 2

Answers POST /predict in text-embeddings-inference's format, as finch does. The handler is a plain function, which FastAPI runs
on its pool of threads: ONNX Runtime lets the interpreter go while it computes.

With several workers uvicorn makes the listening socket without naming TCP, and asyncio then leaves TCP_NODELAY off: an answer's body waits
40 ms for the acknowledgement of its head wherever a client has one request under way. Here it is set, so that the peer is at its best.
"""
import asyncio.base_events
import os
import socket
from typing import List

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", os.environ.get("SERVE_PEER_THREADS", "1"))

import numpy as np  # noqa: E402
import onnxruntime as ort  # noqa: E402
from fastapi import FastAPI  # noqa: E402
from pydantic import BaseModel  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402

LABELS = ("STRONGLY_NEGATIVE", "NEGATIVE", "NEUTRAL", "POSITIVE", "STRONGLY_POSITIVE")

def set_nodelay(connection):
    if connection.family in (socket.AF_INET, socket.AF_INET6):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


asyncio.base_events._set_nodelay = set_nodelay

settings = ort.SessionOptions()
settings.intra_op_num_threads = int(os.environ.get("SERVE_PEER_THREADS", "1"))
settings.inter_op_num_threads = 1
settings.add_session_config_entry("session.intra_op.allow_spinning", os.environ.get("SERVE_PEER_SPIN", "0"))
settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
session = ort.InferenceSession(os.environ["SERVE_PEER_MODEL"], settings, providers=["CPUExecutionProvider"])
names = {given.name for given in session.get_inputs()}
tokenizer = Tokenizer.from_file(os.environ["SERVE_PEER_TOKENIZER"])
tokenizer.no_padding()
tokenizer.enable_truncation(128)
app = FastAPI()


class Request(BaseModel):
    inputs: str


class Prediction(BaseModel):
    score: float
    label: str


@app.get("/health")
async def health():
    return {"status": "ok"}


@app.post("/predict")
def predict(request: Request) -> List[Prediction]:
    ids = np.array([tokenizer.encode(request.inputs).ids], dtype=np.int64)
    feed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    logits = session.run(None, {name: value for name, value in feed.items() if name in names})[0][0]
    exp = np.exp(logits - logits.max())
    shares = exp / exp.sum()
    return [Prediction(score=float(shares[i]), label=LABELS[i]) for i in np.argsort(-shares)]
