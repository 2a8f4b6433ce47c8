#!/usr/bin/env python3
"""Writes recorded/text-overlap.json: BLEU (sacrebleu) and ROUGE (rouge_score) as lm-eval's truthfulqa_gen calls them, for
pairs of random texts of words, marks and signs of many scripts.

usage: pip install sacrebleu rouge_score; python record-text-overlap.py
Last run with sacrebleu 2.6, rouge_score 0.1.2.
"""

import json
import os
import random

import sacrebleu
from rouge_score import rouge_scorer

random.seed(7)
words = (
    "the cat The Cat don't U.S. 3.14 1,000 a-b naïve Straße İstanbul \u212a ſ 中文 漢 字。 。 你好， émigré e\u0301 😀 👩‍👩 ½ ٣ x² $5 € + = . .. ... _a_ "
    "(x) ’s “ ” ! ?! 1. .5 a.b A B C ΑΣ ς ǅ ﬁ 𝒳 𝟙 १ ٫5 5٫"
).split(" ") + [" . ", '"', "\n", "\n\n", "\t", "\u00a0", "\u2028", "\u200b", "\ufeff", "\x1c", "\x85"]
scorer = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeLsum"])


def text():
    count = random.choice([0, 1, 2, 3, 4, 5, 8, 15, 30])
    return "".join(random.choice(words) + random.choice([" ", " ", " ", "", "  "]) for _ in range(count))


def changed(original):
    parts = original.split(" ")
    for _ in range(random.randint(0, 4)):
        parts[random.randrange(len(parts))] = random.choice(words)
    if random.random() < 0.3:
        random.shuffle(parts)
    return " ".join(parts)


recorded = []
for _ in range(300):
    reference = text()
    answer = changed(reference) if random.random() < 0.7 else text()
    bleu = sacrebleu.corpus_bleu([answer], [[reference]], smooth_method="exp", tokenize="intl", use_effective_order=False)
    sentences = [each.replace(" . ", ".\n") for each in (reference, answer)]
    rouge = {name: score.fmeasure * 100 for name, score in scorer.score(*sentences).items()}
    recorded.append({"reference": reference, "answer": answer, "bleu": bleu.score, "rouge": rouge})
target = os.path.join(os.path.dirname(os.path.abspath(__file__)), "recorded", "text-overlap.json")
with open(target, "w", encoding="utf-8") as out:
    json.dump(recorded, out, indent=0)
