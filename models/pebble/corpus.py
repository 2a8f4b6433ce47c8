"""The training text as token arrays, built once into the work folder."""

from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

import heldout
from documents import END, documents
from tokens import train_tokenizer
from world import World


def build(recipe: dict, work: Path) -> None:
    """Generate the documents, check them, train the tokenizer and encode."""
    if (work / "long.npz").exists():
        return
    work.mkdir(parents=True, exist_ok=True)
    world = World()
    banned = heldout.banned_strings(world)
    seed = recipe["seed"]
    parts = {kind: documents(f"{seed} {kind}", count, world, kind, banned)
             for kind, count in recipe["documents"].items()}
    questions = heldout.check(world, sum(parts.values(), []))
    print(f"held-out check passed: {questions} questions and operand pairs are not in "
          f"the training text")
    tokenizer = train_tokenizer(parts["short"][:20000], recipe["vocab_size"])
    if tokenizer.get_vocab_size() != recipe["vocab_size"]:
        raise SystemExit(f"the tokenizer has {tokenizer.get_vocab_size()} entries")
    tokenizer.save(str(work / "tokenizer.json"))
    for name, texts in parts.items():
        encode(tokenizer, texts, work / f"{name}.npz")


def encode(tokenizer: Tokenizer, texts: list, path: Path) -> None:
    end = tokenizer.token_to_id(END)
    rule = Weights(tokenizer)
    tokens, weights, starts, place = [], [], [], 0
    for first in range(0, len(texts), 5000):
        for coded in tokenizer.encode_batch(texts[first:first + 5000]):
            ids = np.array(coded.ids + [end], dtype=np.uint16)
            tokens.append(ids)
            weights.append(rule.of(coded.ids) + [1])
            starts.append(place)
            place += len(ids)
    np.savez(path, tokens=np.concatenate(tokens),
             weights=np.concatenate(weights).astype(np.uint8), starts=np.array(starts))
    print(f"{path.name}: {len(texts)} documents, {place} tokens", flush=True)


class Weights:
    """How much each token counts in the loss.

    Most tokens of a question are drawn at random, and nobody can predict them. The
    answer is what can be learned, so it counts more. So does a token that repeats what
    followed the same two tokens earlier in the document: it can be read back.
    """

    ANSWER = 6
    REPEATED = 3

    def __init__(self, tokenizer: Tokenizer):
        vocab = tokenizer.get_vocab()
        self.answer = [vocab["Answer"], vocab[":"]]
        self.result = [vocab["\u0120is"], vocab["\u0120"]]
        self.digits = {vocab[d] for d in "0123456789"}
        self.line = {number for piece, number in vocab.items() if "\u010a" in piece}

    def of(self, ids: list) -> list:
        weights, inside, seen = [1] * len(ids), False, set()
        for i in range(2, len(ids)):
            before = ids[i - 2:i]
            run = tuple(ids[i - 2:i + 1])
            if run in seen:
                weights[i] = self.REPEATED
            seen.add(run)
            if before == self.answer:
                inside = True
            elif before == self.result and ids[i] in self.digits:
                inside = True
            elif inside and ids[i] in self.line:
                weights[i] = self.ANSWER
                inside = False
            if inside:
                weights[i] = self.ANSWER
        return weights


class Windows:
    """Random windows that begin where a document begins.

    The evaluation feeds a question with nothing before it, so a window must not
    always begin in the middle of a text or after an end mark.
    """

    def __init__(self, path: Path):
        data = np.load(path)
        self.tokens, self.starts = data["tokens"].astype(np.int64), data["starts"]
        self.weights = data["weights"].astype(np.float32)

    def batch(self, seed, rows: int, length: int):
        rng = np.random.default_rng(seed)
        last = np.searchsorted(self.starts, len(self.tokens) - length - 1)
        begin = self.starts[rng.integers(0, last, rows)]
        tokens = np.stack([self.tokens[b:b + length + 1] for b in begin])
        return tokens, np.stack([self.weights[b + 1:b + length + 1] for b in begin])
