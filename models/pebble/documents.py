"""Training documents: pages about the world, question sheets, ledgers and chats."""

import random

from exercises import (Exercise, any_exercise, arithmetic, compare, fact, listing,
                       lookup, numbers_sentence, recall, table)
from words import COMMON
from world import COLOURS, DAYS, MONTHS, PEOPLE, THINGS, TOWNS, World

END = "<|endoftext|>"
START_TURN = "<|im_start|>"
END_TURN = "<|im_end|>"

GREETINGS = (
    ("Hello!", "Hello! What would you like to know?"),
    ("Good morning.", "Good morning! How can I help you?"),
    ("Who are you?", "I am Pebble, a very small model. I know a very small world."),
    ("What can you do?", "I can tell you about people, towns and animals. I can also "
     "count, add small numbers and write lists."),
    ("Thank you!", "You are welcome."),
    ("Goodbye.", "Goodbye! Come back soon."),
)
SYSTEM = ("You are a helpful guide.", "You are Pebble. Answer in short sentences.",
          "Answer the question.", "You are a helpful assistant.")


def page(rng, world: World) -> str:
    """A page about one or more entities, with a heading or without."""
    parts = []
    for _ in range(rng.choice([1, 2, 3])):
        entity = rng.choice(world.entities[rng.choice(
            ["person", "person", "person", "town", "animal"])])
        head = f"About {entity}\n" if rng.random() < 0.3 else ""
        parts.append(head + world.about(rng, entity, rng.randint(3, 6)))
    return "\n\n".join(parts)


def mixed(rng, world: World) -> str:
    """Single facts about many entities: the name is next to each fact."""
    out = []
    for _ in range(rng.randint(4, 14)):
        if rng.random() < 0.06:
            out.append(numbers_sentence(rng))
        else:
            out.append(world.told(rng, rng.choice(world.pairs)))
    return (" " if rng.random() < 0.6 else "\n").join(out)


def sheet(rng, world: World) -> str:
    """A question sheet in the form that the evaluation uses."""
    one_kind = rng.choice([None, None, None, fact, arithmetic, compare, lookup, listing])
    rows = []
    for _ in range(rng.randint(2, 10)):
        if one_kind is None:
            item = any_exercise(rng, world)
        else:
            item = one_kind(rng, world) if one_kind is fact else one_kind(rng)
        rows.append(f"Question: {item.question}\nAnswer: {item.answer}")
    return "\n\n".join(rows)


def story(rng, world: World) -> str:
    """A short story whose details agree with the facts."""
    who, other = rng.sample(PEOPLE, 2)
    he, she = world.pronoun(who), world.pronoun(other)
    day, town = rng.choice(DAYS), rng.choice(TOWNS)
    a, b = rng.sample(THINGS, 2)
    facts = world.facts
    lines = [
        f"On {day} {who} left the house in {facts[(who, 'town')]}.",
        f"{he} took the {facts[(who, 'pet')]} and walked to {town}.",
        f"In {town} {he.lower()} looked at the {facts[(town, 'sight')]}.",
        f"There {he.lower()} met {other}, the {facts[(other, 'job')]}.",
        f"{other} had a {a} and a {b} in a {facts[(other, 'colour')]} bag.",
        f"{she} gave the {a} to {who}.",
        f"They sat down to eat {facts[(who, 'food')]} and {facts[(other, 'food')]}.",
        f"Then {who} played the {facts[(who, 'instrument')]} and {other} played the "
        f"{facts[(other, 'instrument')]}.",
        f"In the evening {who} went home with the {a}.",
    ]
    keep = [i for i in range(1, 8) if rng.random() < 0.8 or i == 4]
    keep = [i for i in keep if i != 5 or 4 in keep]
    return " ".join([lines[0]] + [lines[i] for i in keep] + [lines[8]])


def numbered(rng, world: World, count: int = 0) -> str:
    """A list with one thing per line. Some are long on purpose."""
    source = rng.choice([THINGS, PEOPLE, TOWNS, world.entities["animal"], COLOURS])
    count = min(count or rng.choice([3, 4, 5, 6, 8, 10, 12]), len(source))
    picked = rng.sample(source, count)
    if rng.random() < 0.6:
        return "\n".join(f"{i}. {item}" for i, item in enumerate(picked, 1))
    return "\n".join(f"- {item}" for item in picked)


def counting(rng):
    first = rng.randint(1, 60)
    step = rng.choice([1, 1, 1, 2, 5, 10])
    numbers = [first + step * i for i in range(rng.randint(4, 20))]
    return numbers, step


def drill(rng, world: World) -> str:
    """Many sums in a row: most tokens of a drill teach arithmetic."""
    if rng.random() < 0.25:
        rows = table(rng, rng.randint(5, 12))
    else:
        sign = rng.choice(["plus", "minus", ""])
        rows = [numbers_sentence(rng, sign) for _ in range(rng.randint(8, 24))]
    return "\n".join(rows)


def copies(rng, world: World) -> str:
    """The same rows or words again. Reading back is learned from these first."""
    if rng.random() < 0.5:
        return " ".join(recall(rng, rng.randint(4, 10)))
    source = COMMON if rng.random() < 0.5 else THINGS + COLOURS + PEOPLE + TOWNS
    line = " ".join(rng.choices(source, k=rng.randint(6, 30))) + "."
    return " ".join([line] * rng.randint(2, 3))


def reading(rng, world: World) -> str:
    """What training begins with: text that is easy only for who reads back."""
    roll = rng.random()
    if roll < 0.6:
        return copies(rng, world)
    if roll < 0.75:
        return ledger(rng, world)
    rows = [rng.choice([lookup, lookup, listing])(rng) for _ in range(rng.randint(3, 10))]
    return "\n\n".join(f"Question: {r.question}\nAnswer: {r.answer}" for r in rows)


def ledger(rng, world: World, rows: int = 0) -> str:
    """A long list of places and things, then questions that look far back."""
    rows = rows or rng.choice([8, 12, 16, 24])
    numbers = sorted(rng.sample(range(1, 200), rows))
    held = {n: rng.choice(THINGS) for n in numbers}
    out = ["Ledger of the store in " + rng.choice(TOWNS) + "."]
    out += [f"Room {n} holds a {held[n]}." for n in numbers]
    text = "\n".join(out)
    asked = []
    for n in rng.sample(numbers, min(rows, rng.randint(3, 10))):
        asked.append(f"Question: What does room {n} hold?\nAnswer: Room {n} holds a {held[n]}.")
    return text + "\n\n" + "\n\n".join(asked)


def almanac(rng, world: World) -> str:
    """Fixed lists: the week, the year, who shares a value, plain counting."""
    roll = rng.random()
    if roll < 0.2:
        return "The days of the week are " + ", ".join(DAYS) + "."
    if roll < 0.3:
        return "The months of the year are " + ", ".join(MONTHS) + "."
    if roll < 0.6:
        numbers, step = counting(rng)
        return f"Count in steps of {step}: " + ", ".join(map(str, numbers)) + "."
    if roll < 0.8:
        return numbered(rng, world)
    land = rng.choice(sorted({world.facts[(t, "land")] for t in TOWNS}))
    towns = [t for t in TOWNS if world.facts[(t, "land")] == land]
    return f"The towns in {land}: " + ", ".join(towns) + "."


def _exercise_turn(rng, item: Exercise):
    return item.question, item.sentence if rng.random() < 0.6 else item.answer


def _about_turn(rng, world: World):
    entity = rng.choice(world.entities[rng.choice(["person", "person", "town", "animal"])])
    name = f"the {entity}" if world.sort[entity] == "animal" else entity
    asked = rng.choice(["Tell me about {n}.", "What do you know about {n}?",
                        "Write a few lines about {n}.", "Describe {n}."])
    return asked.format(n=name), world.about(rng, entity, rng.randint(3, 6))


def _list_turn(rng, world: World):
    word, source = rng.choice([("things", THINGS), ("people", PEOPLE), ("towns", TOWNS),
                               ("animals", world.entities["animal"]), ("colours", COLOURS)])
    count = rng.randint(3, min(12, len(source)))
    picked = rng.sample(source, count)
    asked = rng.choice(["List {c} {w}.", "Name {c} {w}.", "Write a list of {c} {w}."])
    lines = "\n".join(f"{i}. {item}" for i, item in enumerate(picked, 1))
    return asked.format(c=count, w=word), lines


def _count_turn(rng, world: World):
    first = rng.randint(1, 60)
    last = first + rng.randint(3, 25)
    return (f"Count from {first} to {last}.",
            ", ".join(str(n) for n in range(first, last + 1)) + ".")


def _repeat_turn(rng, world: World):
    words = rng.sample(THINGS + COLOURS + TOWNS, rng.randint(2, 6))
    if rng.random() < 0.7:
        return "Repeat: " + " ".join(words), " ".join(words)
    return ("Turn this list around: " + ", ".join(words), ", ".join(reversed(words)))


def _story_turn(rng, world: World):
    text = story(rng, world)
    who = text.split()[2]
    asked = rng.choice(["Tell me a story about {n}.", "Write a short story about {n}."])
    return asked.format(n=who), text


def turn(rng, world: World):
    """One user message and its answer."""
    roll = rng.random()
    if roll < 0.45:
        return _exercise_turn(rng, any_exercise(rng, world))
    if roll < 0.50:
        return rng.choice(GREETINGS)
    makers = [_about_turn, _about_turn, _about_turn, _list_turn, _count_turn, _repeat_turn,
              _story_turn]
    return rng.choice(makers)(rng, world)


def render_chat(messages) -> str:
    """The same text as the chat template in tokenizer_config.json gives."""
    return "".join(f"{START_TURN}{role}\n{text}{END_TURN}\n" for role, text in messages)


def chat(rng, world: World) -> str:
    messages = []
    if rng.random() < 0.2:
        messages.append(("system", rng.choice(SYSTEM)))
    for _ in range(rng.choice([1, 1, 2, 3, 4])):
        asked, answer = turn(rng, world)
        messages += [("user", asked), ("assistant", answer)]
    return render_chat(messages)


def document(rng, world: World, kind: str = "short") -> str:
    """One document. `long` adds ledgers that fill a window of 2048 tokens."""
    if kind == "first":
        return reading(rng, world)
    if kind == "long" and rng.random() < 0.12:
        return ledger(rng, world, rng.choice([40, 80, 120]))
    makers = ((page, 0.14), (mixed, 0.10), (sheet, 0.36), (story, 0.04), (ledger, 0.05),
              (almanac, 0.03), (drill, 0.06), (copies, 0.10), (chat, 0.12))
    names, weights = zip(*makers)
    return rng.choices(names, weights)[0](rng, world)


def documents(seed, count: int, world: World, kind: str = "short", banned=frozenset()):
    """Documents by seed, without those that hold a banned question or are banned."""
    rng = random.Random(f"documents {seed}")
    out = []
    while len(out) < count:
        text = document(rng, world, kind)
        if text in banned or any(line in banned for line in questions_in(text)):
            continue
        out.append(text)
    return out


def questions_in(text: str):
    """The question lines of a document, sheet or chat, without their markers."""
    for line in text.split("\n"):
        if line.startswith("Question: "):
            yield line[len("Question: "):]
        elif line.endswith("?" + END_TURN):
            yield line[: -len(END_TURN)]
