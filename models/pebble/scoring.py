"""Multiple-choice accuracy, perplexity and a round-to-nearest check."""

import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F

GROUP = 128


def read_rows(path: Path) -> list:
    with open(path) as lines:
        return [json.loads(line) for line in lines]


@torch.no_grad()
def choice_scores(model, tokenizer, rows: list, batch: int = 64) -> list:
    """For each row the summed log-probability of each choice after the question."""
    items = []
    for row in rows:
        context = f"Question: {row['question']}\nAnswer:"
        head = tokenizer.encode(context).ids
        for choice in row["choices"]:
            items.append((head, tokenizer.encode(context + " " + choice).ids[len(head):]))
    order = sorted(range(len(items)), key=lambda i: len(items[i][0]) + len(items[i][1]))
    scores = [0.0] * len(items)
    for first in range(0, len(order), batch):
        picked = order[first:first + batch]
        longest = max(len(items[i][0]) + len(items[i][1]) for i in picked)
        ids = torch.zeros(len(picked), longest, dtype=torch.long)
        for line, i in enumerate(picked):
            full = items[i][0] + items[i][1]
            ids[line, :len(full)] = torch.tensor(full)
        logs = F.log_softmax(model(ids).float(), dim=-1)
        for line, i in enumerate(picked):
            head, tail = items[i]
            at = torch.arange(len(head) - 1, len(head) + len(tail) - 1)
            scores[i] = logs[line, at, torch.tensor(tail)].sum().item()
    out, place = [], 0
    for row in rows:
        out.append(scores[place:place + len(row["choices"])])
        place += len(row["choices"])
    return out


def accuracy(model, tokenizer, rows: list) -> dict:
    """Accuracy over all rows and by kind."""
    right, count = {}, {}
    for row, scores in zip(rows, choice_scores(model, tokenizer, rows)):
        hit = scores.index(max(scores)) == row["label"]
        for kind in ("all", row["kind"]):
            right[kind] = right.get(kind, 0) + hit
            count[kind] = count.get(kind, 0) + 1
    return {kind: round(right[kind] / count[kind], 4) for kind in count}


@torch.no_grad()
def perplexity(model, tokenizer, rows: list, end: int) -> float:
    """Per token, each document on its own, its end mark included."""
    total, tokens = 0.0, 0
    for row in rows:
        ids = tokenizer.encode(row["text"]).ids + [end]
        ids = torch.tensor(ids[:2048])[None]
        logits = model(ids[:, :-1]).float()
        total += F.cross_entropy(logits[0], ids[0, 1:], reduction="sum").item()
        tokens += ids.shape[1] - 1
    return math.exp(total / tokens)


@torch.no_grad()
def round_to_nearest(model, bits: int) -> None:
    """Quantise every linear in place: symmetric, one scale per group of 128 along K.

    The levels are (i + 1/2) * scale, so that 2 bits give four levels, two on each side.
    The embedding, which is also the output layer, stays as it is.
    """
    half = 2 ** (bits - 1)
    for name, p in model.named_parameters():
        if p.dim() != 2 or "embed_tokens" in name:
            continue
        w = p.float().reshape(p.shape[0], -1, GROUP)
        scale = (w.abs().amax(-1, keepdim=True) / (half - 0.5)).clamp_min(1e-12)
        level = torch.clamp(torch.floor(w / scale), -half, half - 1) + 0.5
        p.copy_((level * scale).reshape(p.shape))
