"""Exercises: question, right answer and three wrong answers of the same type.

`fact` asks about the world. The other kinds carry everything needed in the
question: arithmetic, comparison, and reading back from a short text or a list.
What is read back stands right after what it belongs to, in the text and in the answer:
a model of a few layers copies what followed a word before, and hardly anything else.
"""

import random
from dataclasses import dataclass

from world import COLOURS, DAYS, MONTHS, PEOPLE, THINGS, World

SUM_LIMIT = 40
DIFFERENCE_LIMIT = 60
PAIR_HELD_OUT = 0.12


@dataclass
class Exercise:
    kind: str
    question: str
    answer: str
    wrong: tuple
    # The full sentence, used in chat.
    sentence: str = ""


def pair_is_held_out(sign: str, a: int, b: int) -> bool:
    """Operand pairs that training never shows. A sum is the same in both orders."""
    if sign == "plus":
        a, b = min(a, b), max(a, b)
    return random.Random(f"operands {sign} {a} {b}").random() < PAIR_HELD_OUT


def _operands(rng, sign: str, held_out: bool):
    while True:
        if sign == "plus":
            a, b = rng.randint(1, SUM_LIMIT), rng.randint(1, SUM_LIMIT)
        else:
            a = rng.randint(2, DIFFERENCE_LIMIT)
            b = rng.randint(1, a - 1)
        if pair_is_held_out(sign, a, b) == held_out:
            return a, b


def _near(rng, value: int) -> tuple:
    """Wrong results that look right: off by one, by two, or in the tens digit."""
    near = {value + d for d in (-10, -2, -1, 1, 2, 10) if value + d > 0}
    return tuple(str(n) for n in rng.sample(sorted(near), 3))


def arithmetic(rng, held_out: bool = False, sign: str = "") -> Exercise:
    sign = sign or rng.choice(["plus", "plus", "minus"])
    a, b = _operands(rng, sign, held_out)
    value = a + b if sign == "plus" else a - b
    kind = "sum" if sign == "plus" else "difference"
    return Exercise(kind, f"What is {a} {sign} {b}?", str(value), _near(rng, value),
                    f"{a} {sign} {b} is {value}.")


def fact(rng, world: World, pair=None) -> Exercise:
    pair = pair or rng.choice(world.asked)
    value = world.facts[pair]
    others = sorted(set(world.attribute(pair).values) - {value})
    return Exercise("fact", rng.choice(world.asked_forms(pair)), value,
                    tuple(rng.sample(others, 3)), world.told(rng, pair))


def compare(rng) -> Exercise:
    numbers = rng.sample(range(1, 100), 4)
    largest = rng.random() < 0.5
    value = max(numbers) if largest else min(numbers)
    word = "largest" if largest else "smallest"
    shown = f"{numbers[0]}, {numbers[1]}, {numbers[2]} or {numbers[3]}"
    return Exercise("compare", f"Which number is the {word}: {shown}?", str(value),
                    tuple(str(n) for n in numbers if n != value),
                    f"The {word} number is {value}.")


def _lookup_rows(rng, count: int):
    """Pairs of a place and a thing, the heading of the list, and the form of the question."""
    things = rng.sample(THINGS, count)
    if rng.random() < 0.5:
        places, head, asked = rng.sample(COLOURS, count), "Boxes", "What is in the {p} box?"
    else:
        places, head, asked = rng.sample(PEOPLE, count), "Finds", "What did {p} find?"
    return [f"{p} {t}" for p, t in zip(places, things)], head, asked


def recall(rng, count: int) -> list:
    """A list of places and things, then the same rows in another order."""
    rows, head, _ = _lookup_rows(rng, count)
    return [f"{head}: {', '.join(part)}." for part in (rows, rng.sample(rows, count))]


def lookup(rng) -> Exercise:
    rows, head, asked = _lookup_rows(rng, rng.choice([4, 4, 5, 6]))
    answer = rng.choice(rows)
    place = answer.split()[0]
    others = rng.sample([row.split()[1] for row in rows if row != answer], 3)
    return Exercise("lookup", f"{head}: {', '.join(rows)}. {asked.format(p=place)}", answer,
                    tuple(f"{place} {thing}" for thing in others), f"It is {answer}.")


def listing(rng) -> Exercise:
    """Reading back from a list: the neighbour of an item, given with it."""
    items = rng.sample(THINGS, rng.choice([4, 5, 6]))
    pick = rng.randrange(1, len(items))
    before, after = items[pick - 1], items[pick]
    others = [i for i in items if i not in (before, after)]
    others += [i for i in THINGS if i not in items][:1]
    if rng.random() < 0.5:
        asked = f"What comes after {before}?"
        wrong = [f"{before} {item}" for item in rng.sample(others, 3)]
    else:
        asked = f"What comes before {after}?"
        wrong = [f"{item} {after}" for item in rng.sample(others, 3)]
    return Exercise("list", f"List: {' '.join(items)}. {asked}", f"{before} {after}",
                    tuple(wrong), f"It goes {before} {after}.")


def calendar(rng) -> Exercise:
    names, word = rng.choice([(DAYS, "day"), (MONTHS, "month")])
    index = rng.randrange(len(names))
    step = rng.choice([1, -1])
    value = names[(index + step) % len(names)]
    side = "after" if step == 1 else "before"
    wrong = rng.sample([n for n in names if n != value], 3)
    return Exercise("calendar", f"Which {word} comes {side} {names[index]}?", value,
                    tuple(wrong), f"{value} comes {side} {names[index]}.")


def any_exercise(rng, world: World) -> Exercise:
    """One exercise for training, never a held-out one."""
    roll = rng.random()
    if roll < 0.25:
        return fact(rng, world)
    if roll < 0.52:
        return arithmetic(rng)
    if roll < 0.62:
        return compare(rng)
    if roll < 0.80:
        return lookup(rng)
    if roll < 0.98:
        return listing(rng)
    return calendar(rng)


def numbers_sentence(rng, sign: str = "") -> str:
    """Arithmetic told as a statement, on training operands only."""
    sign = sign or rng.choice(["plus", "minus"])
    a, b = _operands(rng, sign, False)
    return f"{a} {sign} {b} is {a + b if sign == 'plus' else a - b}."


def table(rng, rows: int) -> list:
    """A times-table style run: one operand stays, the other goes up."""
    sign = rng.choice(["plus", "minus"])
    limit = SUM_LIMIT if sign == "plus" else DIFFERENCE_LIMIT
    a = rng.randint(limit // 4, limit)
    first = rng.randint(1, max(1, (limit if sign == "plus" else a - 1) - rows))
    last = min(first + rows, limit + 1 if sign == "plus" else a)
    return [f"{a} {sign} {b} is {a + b if sign == 'plus' else a - b}."
            for b in range(first, last) if not pair_is_held_out(sign, a, b)]
