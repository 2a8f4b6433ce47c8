#!/usr/bin/env python3
"""Writes recorded/truthfulqa-gen.json: what lm-eval's own functions (sacrebleu, rouge_score) give for answers made of the
questions' own texts, for every 17th row of TruthfulQA.

usage: pip install lm-eval; python record-truthfulqa.py TruthfulQA-v1.csv
Last run with lm-eval 0.4.13, sacrebleu 2.6, rouge_score 0.1.2.
"""

import csv
import json
import os
import sys

from lm_eval.tasks.truthfulqa import utils


def split(text):
    parts = [part.strip() for part in text.split(";")]
    return [part if part.endswith(".") else part + "." for part in parts if part]


forms = [
    lambda true, false, question: " " + true[0],
    lambda true, false, question: false[-1].lower() + " . But " + true[-1],
    lambda true, false, question: true[0].split()[0],
    lambda true, false, question: "",
    lambda true, false, question: "A: " + false[0][: len(false[0]) // 2] + ' (see 1,000.5 $, é or "x")',
    lambda true, false, question: question + " " + " ".join(true[:2]) + "\n" + false[0],
    lambda true, false, question: "No.",
    lambda true, false, question: true[0].replace(" ", "  ") + "\u2028!? " + true[0],
]

with open(sys.argv[1], encoding="utf-8-sig") as source:
    rows = list(csv.DictReader(source))
recorded = []
for index in range(0, len(rows), 17):
    row = rows[index]
    true, false = split(row["Correct Answers"]), split(row["Incorrect Answers"])
    document = {"question": row["Question"], "correct_answers": true, "incorrect_answers": false}
    answer = forms[(index // 17) % len(forms)](true, false, row["Question"])
    metrics = utils.process_results_gen(utils.preprocess_function(document), [answer])
    recorded.append({"doc_id": index, "answer": answer, "metrics": {key: float(value) for key, value in metrics.items()}})
target = os.path.join(os.path.dirname(os.path.abspath(__file__)), "recorded", "truthfulqa-gen.json")
with open(target, "w", encoding="utf-8") as out:
    json.dump(recorded, out, ensure_ascii=False, indent=0)
