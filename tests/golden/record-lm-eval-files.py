#!/usr/bin/env python3
"""Writes recorded/lm-eval-files/ and recorded/lm-eval-user-tasks/: the results and samples files that lm-eval itself
writes, answered by the made-up model of made-up-model.ts. The first are three documents each of four built-in tasks, read
from local rows, the second the tasks of user-tasks/.

usage: pip install lm-eval; python record-lm-eval-files.py DATA_FOLDER
Last run with lm-eval 0.4.13.
"""

import collections
import glob
import hashlib
import os
import shutil
import sys
import tempfile

os.environ["HF_DATASETS_OFFLINE"] = "1"

import lm_eval
from lm_eval.api.model import LM
from lm_eval.loggers import EvaluationTracker
from lm_eval.tasks import TaskManager

here = os.path.dirname(os.path.abspath(__file__))
data = os.path.abspath(sys.argv[1])
definitions = os.path.join(os.path.dirname(lm_eval.__file__), "tasks")
builtin = {
    "arc_easy": ("arc/arc_easy.yaml", "arc/ARC-Easy-validation.jsonl", "validation"),
    "gsm8k": ("gsm8k/gsm8k.yaml", "gsm8k/test.jsonl", "test"),
    "gsm8k_cot_llama": ("gsm8k/gsm8k-cot-llama.yaml", "gsm8k/test.jsonl", "test"),
    "lambada_openai": ("lambada/lambada_openai.yaml", "lambada/lambada_test.jsonl", "test"),
}
# With the shots of its own definition.
with_shots = {"gsm8k_cot_llama"}
own = "group contexts cloze pages written several mutual voted around binary begun framed".split()
words = ["pear", "White.", "six", "am Rhein", "honey", "6"]


def share(text):
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") / 4294967296


votes = ["The answer is (B), not (A).", "(C)", "I say it's A Pear!", "So: B", "White or green", "black: A", "none", "(A)"]


def answer(prompt, repeat):
    if prompt.startswith("Vote: "):
        return votes[int(share(f"{prompt}{repeat}") * len(votes))]
    if "#### " not in prompt and "Q: " in prompt:
        return f" It is {words[int(share(prompt) * 6)]} The answer is {words[int(share(prompt) * 36) % 6]}"
    if "[answer]" in prompt:
        return f"The final answer is 7. No, the final answer is 8. The final answer is ${int(share(prompt) * 5000):,}.00, or 9"
    return f"It is {int(share(prompt) * 100)}.\n#### {int(share(prompt) * 100)}"


class MadeUp(LM):
    def loglikelihood(self, requests, **_):
        texts = ["\0".join(request.args) for request in requests]
        return [(-share(text) * 50, bool(hashlib.sha256(text.encode()).digest()[4] & 1)) for text in texts]

    def loglikelihood_rolling(self, requests, **_):
        return [-share(request.args[0]) * 5000 - 1000 for request in requests]

    def generate_until(self, requests, **_):
        asked = collections.Counter()
        answers = []
        for request in requests:
            answers.append(answer(request.args[0], asked[request.args[0]]))
            asked[request.args[0]] += 1
        return answers


def write_definition(folder, name):
    base, file, split = builtin[name]
    is_test = split == "test"
    lines = [
        f"include: {definitions}/{base}",
        f"task: local_{name}",
        "dataset_path: json",
        "dataset_name: null",
        "dataset_kwargs:",
        "  data_files:",
        f"    {split}: {data}/{file}",
        f"test_split: {split if is_test else 'null'}",
        f"validation_split: {'null' if is_test else split}",
        "training_split: null",
        "fewshot_split: null",
    ]
    if name not in with_shots:
        lines.append("num_fewshot: 0")
    with open(os.path.join(folder, f"local_{name}.yaml"), "w", encoding="utf-8") as out:
        out.write("\n".join(lines) + "\n")


def record(tasks, folder, target, limit):
    with tempfile.TemporaryDirectory() as written:
        tracker = EvaluationTracker(output_path=written)
        result = lm_eval.simple_evaluate(
            model=MadeUp(),
            model_args={"pretrained": "made-up"},
            tasks=tasks,
            limit=limit,
            task_manager=TaskManager(include_path=folder),
            evaluation_tracker=tracker,
            bootstrap_iters=1000,
        )
        samples = result.pop("samples")
        result["pretty_env_info"] = "left out"
        for config in result["configs"].values():
            config["metadata"].pop("config_source", None)
        tracker.save_results_aggregated(results=result, samples=samples)
        for name, rows in samples.items():
            tracker.save_results_samples(task_name=name, samples=rows)
        shutil.rmtree(target, ignore_errors=True)
        os.makedirs(target)
        for file in glob.glob(os.path.join(written, "*", "*")):
            with open(file, encoding="utf-8") as source:
                text = source.read()
            for place, mark in ((data, "data"), (definitions, "tasks"), (here, "golden")):
                text = text.replace(place, mark)
            name = os.path.basename(file).replace("local_", "")
            with open(os.path.join(target, name), "w", encoding="utf-8") as out:
                out.write(text.replace("local_", ""))


with tempfile.TemporaryDirectory() as folder:
    for name in builtin:
        write_definition(folder, name)
    target = os.path.join(here, "recorded", "lm-eval-files")
    record([f"local_{name}" for name in builtin], folder, target, 3)

os.chdir(os.path.join(here, "user-tasks"))
record([f"own_{name}" for name in own], os.path.join(here, "user-tasks"), os.path.join(here, "recorded", "lm-eval-user-tasks"), None)
