"""The small world that pebble knows: entities, attributes, facts and the split.

Everything is drawn from one seed. A fact is an (entity, attribute) pair with one
value. Every fact is told in sentences; only the pairs on the training side are
ever asked about, so a held-out question tests whether the model can answer from
what it was told.
"""

import random
from dataclasses import dataclass

WORLD_SEED = 7
HELD_OUT_SHARE = 0.36

WOMEN = "Ada Cora Ella Greta Iris Kate Mira Olga Rosa Tess Una Vera Wilma Zoe Nora Lucy".split()
MEN = "Ben Dan Finn Hugo Jack Leo Ned Paul Sam Tom Walt Rolf Oscar Emil Peter Max".split()
PEOPLE = sorted(WOMEN + MEN)
TOWNS = (
    "Oakford Redmill Stonebay Greenhill Westport Ashby Lakeside Fernwood "
    "Saltmarsh Highgate Elmdale Brookend"
).split()
LANDS = "Aran Belmor Corin Duval Estra Farlow".split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = (
    "January February March April May June July August September October "
    "November December"
).split()
COLOURS = "red blue green yellow white black brown purple orange pink".split()
THINGS = (
    "pear coin rope key cup spoon book lamp shoe hat stone shell brick ribbon "
    "candle button feather bell drum ladder basket bottle needle mirror"
).split()

# Entity, food, home, young, sound. These are kept true to life.
ANIMALS = {
    "cow": ("grass", "barn", "calf", "moos"),
    "horse": ("hay", "stable", "foal", "neighs"),
    "sheep": ("clover", "fold", "lamb", "bleats"),
    "pig": ("roots", "sty", "piglet", "grunts"),
    "dog": ("bones", "kennel", "puppy", "barks"),
    "cat": ("fish", "house", "kitten", "purrs"),
    "hen": ("grain", "coop", "chick", "clucks"),
    "duck": ("weeds", "pond", "duckling", "quacks"),
    "bear": ("honey", "cave", "cub", "growls"),
    "fox": ("mice", "den", "kit", "yelps"),
    "owl": ("voles", "tower", "owlet", "hoots"),
    "frog": ("flies", "marsh", "tadpole", "croaks"),
    "rabbit": ("carrots", "burrow", "bunny", "thumps"),
    "mouse": ("cheese", "wall", "pup", "squeaks"),
    "snake": ("eggs", "pit", "hatchling", "hisses"),
    "lion": ("meat", "plain", "whelp", "roars"),
}


@dataclass(frozen=True)
class Attribute:
    """One attribute of one sort of entity, with its ways of telling and asking."""

    name: str
    values: tuple
    told: tuple
    asked: tuple
    # Sentences that may follow with a pronoun instead of the name.
    pronoun: tuple = ()


def _attribute(name, values, told, asked, pronoun=()):
    values = tuple(values.split()) if isinstance(values, str) else tuple(values)
    return Attribute(name, values, tuple(told), tuple(asked), tuple(pronoun))


PERSON = (
    _attribute("town", TOWNS,
               ["{e} lives in {v}.", "The home of {e} is in {v}.",
                "{e} has a house in {v}.", "If you visit {v}, you can meet {e}."],
               ["Where does {e} live?", "In which town does {e} live?",
                "Which town is the home of {e}?"],
               ["{p} lives in {v}.", "{p} has a house in {v}."]),
    _attribute("job", "baker miller smith teacher doctor farmer fisher weaver painter "
               "potter tailor gardener",
               ["{e} is a {v}.", "{e} works as a {v}.", "The job of {e} is {v}.",
                "By trade {e} is a {v}."],
               ["What is the job of {e}?", "What does {e} work as?",
                "What is the trade of {e}?"],
               ["{p} is a {v}.", "{p} works as a {v}."]),
    _attribute("pet", "dog cat rabbit goat parrot mouse pony hen frog duck",
               ["{e} has a pet {v}.", "{e} keeps a {v}.", "The pet of {e} is a {v}.",
                "At home {e} looks after a {v}."],
               ["Which pet does {e} have?", "What is the pet of {e}?",
                "Which animal does {e} keep?"],
               ["{p} has a pet {v}.", "{p} keeps a {v}."]),
    _attribute("colour", COLOURS,
               ["{e} likes the colour {v}.", "The best colour for {e} is {v}.",
                "{e} always wears {v}.", "The door of {e} is painted {v}."],
               ["Which colour does {e} like?", "What is the best colour for {e}?",
                "Which colour does {e} wear?"],
               ["{p} likes the colour {v}.", "{p} always wears {v}."]),
    _attribute("food", "soup bread cake rice beans plums apples corn pie nuts salad cheese",
               ["{e} likes to eat {v}.", "The best food for {e} is {v}.",
                "{e} eats {v} every day.", "For dinner {e} wants {v}."],
               ["What does {e} like to eat?", "Which food does {e} like?",
                "What is the best food for {e}?"],
               ["{p} likes to eat {v}.", "{p} eats {v} every day."]),
    _attribute("instrument", "flute harp violin piano horn guitar trumpet cello",
               ["{e} plays the {v}.", "The instrument of {e} is the {v}.",
                "In the evening {e} plays the {v}.", "{e} is good at playing the {v}."],
               ["What does {e} play?", "Which instrument does {e} play?",
                "What is the instrument of {e}?"],
               ["{p} plays the {v}.", "{p} is good at playing the {v}."]),
)
TOWN = (
    _attribute("land", LANDS,
               ["{e} is a town in {v}.", "{e} lies in the land of {v}.",
                "The town of {e} belongs to {v}.", "In {v} there is a town called {e}."],
               ["In which land is {e}?", "To which land does {e} belong?",
                "In which land does {e} lie?"],
               ["It is a town in {v}.", "It belongs to {v}."]),
    _attribute("goods", "glass wool paper salt honey boats bricks candles carpets knives "
               "hats wine",
               ["{e} is known for {v}.", "The people of {e} make {v}.",
                "{e} sells {v}.", "The best {v} come from {e}."],
               ["What is {e} known for?", "What do the people of {e} make?",
                "What does {e} sell?"],
               ["It is known for {v}.", "It sells {v}."]),
    _attribute("market", DAYS,
               ["The market of {e} is on {v}.", "{e} holds its market on {v}.",
                "On {v} there is a market in {e}.", "In {e} market day is {v}."],
               ["When is the market of {e}?", "On which day is the market of {e}?",
                "Which day is market day in {e}?"],
               ["It holds its market on {v}.", "Market day is {v}."]),
    _attribute("sight", "clock fountain statue tower well bridge garden mill castle "
               "windmill gate harbour",
               ["In the middle of {e} there is a {v}.", "{e} has an old {v}.",
                "Visitors to {e} look at the {v}.", "The pride of {e} is its {v}."],
               ["What is in the middle of {e}?", "What is the pride of {e}?",
                "What do visitors to {e} look at?"],
               ["It has an old {v}.", "Visitors look at the {v}."]),
    _attribute("river", "Tarn Velt Morrow Silver Wend Luma",
               ["The river of {e} is the {v}.", "The {v} flows through {e}.",
                "{e} lies on the river {v}.", "The boats of {e} sail on the {v}."],
               ["Which river flows through {e}?", "What is the river of {e}?",
                "On which river does {e} lie?"],
               ["It lies on the river {v}.", "The {v} flows through it."]),
)


def _animal_values(index):
    return [row[index] for row in ANIMALS.values()]


ANIMAL = (
    _attribute("eats", _animal_values(0),
               ["The {e} eats {v}.", "The food of the {e} is {v}.",
                "A hungry {e} looks for {v}.", "Give {v} to the {e}."],
               ["What does the {e} eat?", "What is the food of the {e}?",
                "What does a hungry {e} look for?"],
               ["It eats {v}.", "Its food is {v}."]),
    _attribute("home", _animal_values(1),
               ["The {e} lives in a {v}.", "The home of the {e} is a {v}.",
                "The {e} sleeps in its {v}.", "Look for the {e} in the {v}."],
               ["Where does the {e} live?", "What is the home of the {e}?",
                "Where does the {e} sleep?"],
               ["It lives in a {v}.", "It sleeps in its {v}."]),
    _attribute("young", _animal_values(2),
               ["A young {e} is called a {v}.", "The child of the {e} is a {v}.",
                "The {e} looks after its {v}.", "The {v} will grow up to be a {e}."],
               ["What is a young {e} called?", "What is the child of the {e}?",
                "What does the {e} look after?"],
               ["Its child is a {v}.", "It looks after its {v}."]),
    _attribute("sound", _animal_values(3),
               ["The {e} {v}.", "At night the {e} {v}.",
                "When it is glad the {e} {v}.", "The {e} {v} when you come near."],
               ["What does the {e} do when it is glad?", "What does the {e} do at night?",
                "What sound does the {e} make?"],
               ["It {v} when you come near.", "At night it {v}."]),
)
SORTS = {"person": PERSON, "town": TOWN, "animal": ANIMAL}


class World:
    """The facts, and which of them may be asked about in training."""

    def __init__(self, seed: int = WORLD_SEED):
        rng = random.Random(f"world {seed}")
        self.entities = {"person": PEOPLE, "town": TOWNS, "animal": list(ANIMALS)}
        self.sort = {e: s for s, names in self.entities.items() for e in names}
        self.facts = {}
        for sort, attributes in SORTS.items():
            for index, attribute in enumerate(attributes):
                values = self._assign(rng, sort, index, attribute)
                for entity, value in zip(self.entities[sort], values):
                    self.facts[(entity, attribute.name)] = value
        self.attributes = {(s, a.name): a for s, attrs in SORTS.items() for a in attrs}
        pairs = sorted(self.facts)
        rng.shuffle(pairs)
        cut = round(len(pairs) * HELD_OUT_SHARE)
        self.held_out = frozenset(pairs[:cut])
        self.asked = sorted(pairs[cut:])
        self.pairs = sorted(pairs)

    def _assign(self, rng, sort, index, attribute):
        names = self.entities[sort]
        if sort == "animal":
            return [ANIMALS[name][index] for name in names]
        # Every value is used about equally often, so the most common value is no
        # better a guess than any other.
        repeats = -(-len(names) // len(attribute.values))
        values = list(attribute.values) * repeats
        rng.shuffle(values)
        return values[: len(names)]

    def attribute(self, pair) -> Attribute:
        return self.attributes[(self.sort[pair[0]], pair[1])]

    def pronoun(self, entity: str) -> str:
        if self.sort[entity] != "person":
            return "It"
        return "She" if entity in WOMEN else "He"

    def told(self, rng, pair, pronoun: bool = False) -> str:
        """The fact as one sentence, in one of its paraphrases."""
        attribute = self.attribute(pair)
        form = rng.choice(attribute.pronoun if pronoun else attribute.told)
        return form.format(e=pair[0], v=self.facts[pair], p=self.pronoun(pair[0]))

    def asked_forms(self, pair) -> list:
        return [form.format(e=pair[0]) for form in self.attribute(pair).asked]

    def about(self, rng, entity: str, count: int) -> str:
        """Some facts about an entity as a short paragraph."""
        attributes = [a.name for a in SORTS[self.sort[entity]]]
        rng.shuffle(attributes)
        out = []
        for position, name in enumerate(attributes[:count]):
            short = position > 0 and rng.random() < 0.4
            out.append(self.told(rng, (entity, name), short))
        return " ".join(out)
