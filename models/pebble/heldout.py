"""The held-out task and text, and the check that training never saw them."""

import json
import random
from pathlib import Path

from documents import documents
from exercises import arithmetic, compare, fact, listing, lookup
from world import World

COUNTS = {"fact": 180, "lookup": 60, "list": 50, "compare": 40, "sum": 40,
          "difference": 30}
TEXT_DOCUMENTS = 150


def _candidates(rng, world: World):
    """Endless exercises by kind; facts go through every way of asking a held-out pair."""
    facts = []
    for pair in sorted(world.held_out):
        for form in world.asked_forms(pair):
            item = fact(rng, world, pair)
            item.question = form
            facts.append(item)
    rng.shuffle(facts)
    return {
        "fact": iter(facts),
        "lookup": iter(lambda: lookup(rng), None),
        "list": iter(lambda: listing(rng), None),
        "compare": iter(lambda: compare(rng), None),
        "sum": iter(lambda: arithmetic(rng, True, "plus"), None),
        "difference": iter(lambda: arithmetic(rng, True, "minus"), None),
    }


def task_rows(world: World) -> list:
    """The multiple-choice rows, with every label equally often in every kind."""
    rng = random.Random("held-out task")
    source = _candidates(rng, world)
    rows, seen = [], set()
    for kind, count in COUNTS.items():
        labels = [i % 4 for i in range(count)]
        rng.shuffle(labels)
        for label in labels:
            item = next(source[kind])
            while item.question in seen:
                item = next(source[kind])
            seen.add(item.question)
            choices = list(item.wrong)
            choices.insert(label, item.answer)
            rows.append({"id": f"{kind}-{len(rows):03d}", "kind": kind,
                         "question": item.question, "choices": choices, "label": label})
    return rows


def held_out_texts(world: World) -> list:
    return documents("held-out", TEXT_DOCUMENTS, world, "long")


def banned_strings(world: World) -> frozenset:
    """What no training document may contain as a question or be equal to."""
    rows = {row["question"] for row in task_rows(world)}
    forms = {form for pair in world.held_out for form in world.asked_forms(pair)}
    return frozenset(rows | forms | set(held_out_texts(world)))


def check(world: World, training: list) -> int:
    """Fail if a held-out question or document occurs in the training text."""
    text = "\n".join(training)
    questions = {row["question"] for row in task_rows(world)}
    questions |= {form for pair in world.held_out for form in world.asked_forms(pair)}
    found = [q for q in sorted(questions) if q in text]
    # Operand pairs are held out in every form, not only as a question.
    for row in task_rows(world):
        if row["kind"] in ("sum", "difference"):
            operands = row["question"][len("What is "):-1]
            found += [operands] if f" {operands} is" in text else []
    seen = set(training)
    found += [t[:60] for t in held_out_texts(world) if t in seen]
    if found:
        raise SystemExit(f"held-out material in the training text: {found[:5]}")
    return len(questions)


def write(folder: Path, world: World) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "test.jsonl", "w") as out:
        for row in task_rows(world):
            out.write(json.dumps(row) + "\n")
    with open(folder / "heldout.jsonl", "w") as out:
        for text in held_out_texts(world):
            out.write(json.dumps({"text": text}) + "\n")
