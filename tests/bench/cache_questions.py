"""Questions of fact in several wordings, and requests to write something: made from templates for
the fit of the shipped prior, because the public streams have few questions that were asked exactly
twice."""

from __future__ import annotations

import random
from typing import Final

_PLACES: Final = (
    "Germany",
    "Italy",
    "Spain",
    "Portugal",
    "Austria",
    "Poland",
    "Hungary",
    "Greece",
    "Turkey",
    "Egypt",
    "Kenya",
    "Nigeria",
    "India",
    "Nepal",
    "China",
    "Japan",
    "Vietnam",
    "Australia",
    "Canada",
    "Mexico",
    "Peru",
    "Chile",
    "Brazil",
    "Argentina",
    "Norway",
    "Sweden",
    "Finland",
    "Iceland",
    "Ireland",
    "Morocco",
)
_LANGUAGES: Final = (
    "Python",
    "Java",
    "JavaScript",
    "Rust",
    "Ruby",
    "Kotlin",
    "C",
    "Perl",
    "Haskell",
)
_VERBS: Final = (
    "sort",
    "reverse",
    "copy",
    "filter",
    "merge",
    "split",
    "print",
    "iterate over",
    "compare",
    "serialize",
    "clear",
    "shuffle",
)
_NOUNS: Final = (
    "list",
    "string",
    "dictionary",
    "file",
    "array",
    "queue",
    "date",
    "set",
    "matrix",
    "tuple",
)
_TERMS: Final = (
    "photosynthesis",
    "inflation",
    "recursion",
    "a black hole",
    "osmosis",
    "machine learning",
    "a mortgage",
    "gravity",
    "blockchain",
    "entropy",
    "a haiku",
    "diabetes",
    "a REST API",
    "GDP",
    "polymorphism",
    "a catalyst",
    "plate tectonics",
    "compound interest",
    "a stock option",
    "an index fund",
    "mitosis",
    "a firewall",
    "the greenhouse effect",
    "supply and demand",
    "a prime number",
    "a hash table",
    "an eclipse",
    "dark matter",
    "democracy",
    "the Renaissance",
    "a metaphor",
    "a vector",
    "caching",
    "latency",
    "a semaphore",
    "dopamine",
    "cholesterol",
    "a tariff",
    "a subsidy",
    "the Doppler effect",
)
_INVENTIONS: Final = (
    "telephone",
    "light bulb",
    "steam engine",
    "airplane",
    "printing press",
    "radio",
    "television",
    "microscope",
    "telescope",
    "dynamite",
    "penicillin",
    "battery",
    "bicycle",
    "elevator",
    "thermometer",
    "typewriter",
    "transistor",
    "vaccine",
    "zipper",
    "helicopter",
)
_BOOKS: Final = (
    "Hamlet",
    "War and Peace",
    "Don Quixote",
    "Moby Dick",
    "The Odyssey",
    "Dracula",
    "Frankenstein",
    "Ulysses",
    "Emma",
    "Faust",
    "The Trial",
    "The Stranger",
    "Walden",
    "Candide",
    "The Raven",
    "Middlemarch",
    "Beloved",
    "Dune",
    "Persuasion",
    "The Tempest",
)
_DISHES: Final = (
    "lasagna",
    "pancakes",
    "a risotto",
    "tomato soup",
    "banana bread",
    "fried rice",
    "an omelette",
    "apple pie",
    "guacamole",
    "hummus",
    "roast chicken",
    "sushi",
    "pizza dough",
    "chocolate cake",
    "lentil curry",
    "pesto",
    "scrambled eggs",
    "beef stew",
    "cheesecake",
    "tacos",
)
_ACTIONS: Final = (
    "reset",
    "change",
    "delete",
    "find",
    "update",
    "recover",
    "verify",
    "export",
    "share",
    "print",
    "transfer",
    "restore",
)
_OBJECTS: Final = (
    "password",
    "account",
    "subscription",
    "email address",
    "phone number",
    "invoice",
    "profile picture",
    "payment method",
    "shipping address",
    "order",
    "username",
    "API key",
    "billing history",
    "license",
    "booking",
)
_ANIMALS: Final = (
    "a cat",
    "a dog",
    "an elephant",
    "a tortoise",
    "a parrot",
    "a whale",
    "a mosquito",
    "a horse",
    "a hamster",
    "a shark",
    "an owl",
    "a bee",
)
_TEMPLATES: Final = (
    (
        {"p": _PLACES},
        (
            "What is the capital of {p}?",
            "Tell me {p}'s capital city",
            "capital of {p}",
            "Which city is the capital of {p}?",
            "Name the capital city of {p}",
            "Do you know what {p}'s capital is?",
        ),
    ),
    (
        {"p": _PLACES},
        (
            "What is the population of {p}?",
            "How many people live in {p}?",
            "population of {p}",
            "Tell me how many inhabitants {p} has",
        ),
    ),
    (
        {"p": _PLACES},
        (
            "What currency is used in {p}?",
            "Which currency do they use in {p}?",
            "{p} currency",
            "Tell me the currency of {p}",
        ),
    ),
    (
        {"p": _PLACES},
        (
            "What is the official language of {p}?",
            "Which language do people speak in {p}?",
            "official language {p}",
        ),
    ),
    (
        {"p": _PLACES},
        (
            "What is the largest river in {p}?",
            "Which river is the largest in {p}?",
            "{p}'s largest river",
        ),
    ),
    (
        {"p": _PLACES},
        (
            "What is the highest mountain in {p}?",
            "Which mountain is the highest in {p}?",
            "{p}'s highest mountain",
        ),
    ),
    (
        {"v": _VERBS, "n": _NOUNS, "l": _LANGUAGES},
        (
            "How do I {v} a {n} in {l}?",
            "What is the way to {v} a {n} in {l}?",
            "{l} {v} {n}",
            "Show me how to {v} a {n} using {l}",
            "How can you {v} a {n} with {l}?",
        ),
    ),
    (
        {"t": _TERMS},
        (
            "What is {t}?",
            "Define {t}",
            "Explain {t}",
            "What does {t} mean?",
            "Can you explain what {t} is?",
            "Give me a definition of {t}",
        ),
    ),
    (
        {"t": _TERMS},
        ("What are the advantages of {t}?", "Tell me the benefits of {t}", "Why is {t} useful?"),
    ),
    (
        {"t": _TERMS},
        ("Give me an example of {t}", "Can you show an example of {t}?", "example of {t} please"),
    ),
    ({"t": _TERMS}, ("Write a poem about {t}", "Please write a poem about {t}")),
    (
        {"i": _INVENTIONS},
        (
            "Who invented the {i}?",
            "Who was the inventor of the {i}?",
            "The {i} was invented by whom?",
            "Tell me who invented the {i}",
        ),
    ),
    (
        {"i": _INVENTIONS},
        (
            "When was the {i} invented?",
            "In which year was the {i} invented?",
            "Tell me when the {i} was invented",
        ),
    ),
    (
        {"i": _INVENTIONS},
        (
            "How does a {i} work?",
            "Explain how a {i} works",
            "What is the working principle of a {i}?",
        ),
    ),
    (
        {"b": _BOOKS},
        ("Who wrote {b}?", "Who is the author of {b}?", "author of {b}", "Which writer wrote {b}?"),
    ),
    ({"b": _BOOKS}, ("Summarize {b}", "Give me a summary of {b}", "What is {b} about?")),
    ({"b": _BOOKS}, ("When was {b} published?", "What year was {b} published?")),
    (
        {"d": _DISHES},
        (
            "How do I make {d}?",
            "Recipe for {d}",
            "How to cook {d}?",
            "What's a good recipe for {d}?",
            "Tell me how to make {d}",
        ),
    ),
    (
        {"d": _DISHES},
        ("How many calories does {d} have?", "Calories in {d}", "Tell me the calories of {d}"),
    ),
    ({"d": _DISHES}, ("What wine goes with {d}?", "Which wine should I serve with {d}?")),
    (
        {"a": _ACTIONS, "o": _OBJECTS},
        (
            "How do I {a} my {o}?",
            "What are the steps to {a} my {o}?",
            "I want to {a} my {o}, how?",
            "Can you help me {a} my {o}?",
            "{a} {o}",
            "Where can I {a} my {o}?",
        ),
    ),
    (
        {"s": _ANIMALS},
        ("How long does {s} live?", "What is the lifespan of {s}?", "How old can {s} get?"),
    ),
    ({"s": _ANIMALS}, ("What does {s} eat?", "Tell me what {s} eats", "diet of {s}")),
    ({"s": _ANIMALS}, ("How much does {s} weigh?", "What is the weight of {s}?")),
)
_FORMS: Final = (
    "poem",
    "haiku",
    "short story",
    "limerick",
    "song",
    "sonnet",
    "fairy tale",
    "joke",
    "monologue",
    "rap verse",
    "bedtime story",
    "product description",
    "slogan",
    "blog post",
    "birthday speech",
    "love letter",
    "movie plot",
    "riddle",
)
_THINGS: Final = (
    "a lonely robot",
    "the sea",
    "autumn leaves",
    "my cat",
    "a dragon who is afraid of fire",
    "the last train home",
    "a haunted lighthouse",
    "two rival bakers",
    "grandmother's garden",
    "the moon",
    "a lost sock",
    "a time traveller",
    "the desert at night",
    "a retired superhero",
    "a talking teapot",
    "snow in April",
    "an old violin",
    "the first day of school",
    "a city under water",
    "a detective who cannot lie",
    "bees",
    "a broken clock",
    "the invention of fire",
    "a shy astronaut",
    "winter",
    "spring",
    "summer",
    "a pirate",
    "a knight",
    "a librarian",
    "football",
    "coffee",
    "tea",
    "rain",
    "sunshine",
    "mountains",
    "friendship",
    "jealousy",
    "hope",
    "losing a friend",
    "becoming a father",
    "a wedding",
    "divorce",
    "a new job",
    "retirement",
)
_STYLES: Final = (
    "in the style of Shakespeare",
    "for children",
    "in a dark tone",
    "in a funny tone",
    "with a twist at the end",
    "without using the letter e",
    "that rhymes",
    "in under 100 words",
    "in three paragraphs",
    "from the point of view of the main character",
    "set in Paris",
    "set in Tokyo",
    "set in the future",
    "with a happy ending",
    "",
    "",
    "",
    "",
)
_WRITE: Final = (
    "Write",
    "Compose",
    "Create",
    "Please write",
    "Can you write",
    "Give me",
    "I need",
    "Draft",
)


def facts(many: int, seed: int = 5) -> list[tuple[str, str]]:
    """`many` draws, each once: (text, answer). Some are written without capitals and question
    mark."""
    draw = random.Random(seed)
    made: list[tuple[str, str]] = []
    for _ in range(many):
        number = draw.randrange(len(_TEMPLATES))
        slots, wordings = _TEMPLATES[number]
        filled = {name: draw.choice(values) for name, values in slots.items()}
        text = draw.choice(wordings).format(**filled)
        if draw.random() < 0.3:
            text = text.lower().rstrip("?.")
        made.append((text, f"{number}:" + ",".join(filled.values())))
    return list(dict.fromkeys(made))


def creative(many: int, seed: int = 5) -> list[tuple[str, str]]:
    """Requests to write something, each with an answer of its own: who asks twice wants another
    text."""
    draw = random.Random(seed)
    seen: dict[str, None] = {}
    while len(seen) < many:
        what = f"{draw.choice(_WRITE)} a {draw.choice(_FORMS)}"
        wish = f"{what} about {draw.choice(_THINGS)} {draw.choice(_STYLES)}"
        seen[wish.strip()] = None
    return [(text, f"creative-{number}") for number, text in enumerate(seen)]


_BEFORE: Final = (
    "",
    "",
    "",
    "Please: ",
    "Hi! ",
    "Question: ",
    "I have a question. ",
    "Quick one: ",
)
_AFTER: Final = ("", "", "", " Thanks!", " Please explain.", " Be brief.", "?", ".")
_PLAIN_WORD: Final = 4  # letters: shorter ones carry no sense of their own


def twins(texts: list[str], seed: int = 7) -> list[tuple[str, str]]:
    """Each text, for half of them the same with other courtesies, for half of them one with a word
    exchanged for another text's, which asks something else: (text, answer)."""
    draw = random.Random(seed)
    words = sorted(
        {
            word
            for text in texts
            for word in text.split()
            if len(word) >= _PLAIN_WORD and word.isalpha() and word.islower()
        }
    )
    known = set(words)
    made: list[tuple[str, str]] = []
    for number, text in enumerate(texts):
        made.append((text, f"twins-{number}"))
        if draw.random() < 0.5:
            again = draw.choice(_BEFORE) + text + draw.choice(_AFTER)
            made.append((again.lower() if draw.random() < 0.3 else again, f"twins-{number}"))
        places = [word for word in text.split() if word in known]
        if places and draw.random() < 0.5:
            other = text.replace(draw.choice(places), draw.choice(words), 1)
            made.append((draw.choice(_BEFORE) + other, f"twins-{number}-other"))
    return list(dict.fromkeys(made))
