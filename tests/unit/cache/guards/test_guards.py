import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.cache.guards import REASONS, differs
from extproc.cache.guards.figures import canonical
from extproc.cache.guards.tokens import BOUND


@pytest.mark.parametrize(
    ("a", "b", "reason"),
    [
        ("100 USD in euro", "1000 USD in euro", "number"),
        ("I have two dogs", "I have three dogs", "number"),
        ("two hundred and fifty miles", "2 hundred miles", "number"),
        ("meet me at 5 pm", "meet me at 5 am", "number"),
        ("my second card", "my third card", "number"),
        ("release notes of 1.2.3", "release notes of 1.2.4", "number"),
        ("你好 3", "你好 4", "number"),
        ("ich habe zwei Hunde", "ich habe drei Hunde", "number"),
        ("weather on Monday", "weather on Friday", "date"),
        ("book it for tomorrow", "book it", "date"),
        ("rents in May 2024", "rents in 2024", "date"),
        ("what is 5 dollars", "what is 5 euros", "currency"),
        ("how far is 5 km", "how far is 5 miles", "unit"),
        ("how many days are left", "how many weeks are left", "unit"),
        ("may I work remotely", "may I not work remotely", "negation"),
        ("may I work remotely", "mayn't I work remotely", "negation"),
        ("a meal with meat", "a meal without meat", "negation"),
        ("Il n'est pas là", "il est là", "negation"),
        ("Das ist erlaubt", "Das ist nicht erlaubt", "negation"),
        ("quiero volar sin escalas", "quiero volar con escalas", "negation"),
        ("posso fumare", "non posso fumare", "negation"),
        ("how to open a port", "how to close a port", "opposite"),
        ("enable two factor login", "disable two factor login", "opposite"),
        ("more salt than sugar", "less salt than sugar", "opposite"),
        ("wash it before use", "wash it after use", "opposite"),
        ("turn the lights on", "turn off the lights", "opposite"),
        ("cheap hotels", "expensive hotels", "opposite"),
        ("the capital of France", "the capital of Germany", "entity"),
        ("weather in paris", "weather in london", "entity"),
        ("who is Anna Smith", "who is Berta Smith", "entity"),
        ("dose of vitamin c", "dose of vitamin d", "entity"),
        ("flights from Paris to London", "flights from London to Paris", "order"),
        ("100 USD in EUR", "100 EUR in USD", "order"),
        ("is Python faster than Go", "is Go faster than Python", "order"),
        ("A vs B", "B vs A", "order"),
        ("the dog bites the man", "the man bites the dog", "order"),
        ("x " * BOUND + "yes", "x " * BOUND + "nay", "tail"),
    ],
)
def test_what_makes_two_questions_different(a: str, b: str, reason: str) -> None:
    assert reason in REASONS
    assert differs(a, b) == reason
    assert differs(b, a) == reason


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("What is the capital of France?", "Tell me France's capital city"),
        ("I waited for 2 weeks", "I waited for two weeks"),
        ("$5,000", "5000 dollars"),
        ("5k dollars", "5000 dollars"),
        ("two hundred and fifty miles", "250 miles"),
        ("meet at 5 pm", "meet at 17:00"),
        ("meet at 5:30 pm", "meet at 17:30"),
        ("one of my cards is lost", "my cards: I lost some"),
        ("why can't I pay", "why am I unable to pay"),
        ("I don't know how to activate my card", "how to activate my card"),
        ("flights from Paris to London", "flights to London from Paris"),
        ("a real person or a bot", "a bot or a real person"),
        ("can I find an ATM", "where are ATMs"),
        ("may I leave", "I may leave"),
        ("Wie hoch ist der Berg dort", "wie hoch der Berg dort ist"),
        ("How Do I Reset My Password", "how do i reset my password"),
    ],
)
def test_what_leaves_two_wordings_of_one_question_together(a: str, b: str) -> None:
    assert differs(a, b) is None
    assert differs(b, a) is None


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("1,000", "1000"),
        ("1'000'000", "1000000"),
        ("1.000.000", "1000000"),
        ("1,5", "1.5"),
        ("1.50", "1.5"),
        ("1.2.3", "1.2.3"),
    ],
)
def test_numbers_are_compared_by_what_they_mean(written: str, meant: str) -> None:
    assert canonical(written) == meant


@given(st.text(max_size=300), st.text(max_size=300))
def test_no_text_makes_it_fail_and_sides_do_not_matter(a: str, b: str) -> None:
    assert differs(a, a) is None
    assert differs(a, b) == differs(b, a)


@pytest.mark.parametrize(
    "part", ["a ", "1,", "'", "to ", "than x ", "1 hundred and ", "ﷺ", "A", "n't ", "9" * 50 + " "]
)
def test_long_texts_cost_no_more_than_their_length(part: str) -> None:
    text = part * (400_000 // len(part))
    assert differs(text, text) is None


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("Who invented the telescope?", "When was the telescope invented?"),
        ("Where does she live?", "Who does she live with?"),
        ("What is the total cost?", "What is the average cost?"),
        (
            "It costs $2, then $3, then $4, then $5. How much is it?",
            "It costs $3, then $3, then $4, then $5. How much is it? I paid $2, so 2 is too much",
        ),
    ],
)
def test_what_is_asked_for_and_every_number_count(a: str, b: str) -> None:
    assert differs(a, b) is not None
    assert differs(b, a) is not None


def test_a_character_that_unfolds_costs_no_more() -> None:
    long = "\ufdfa" * 200_000
    assert differs(long, long) is None
    assert differs(long, long + "a") == "tail"
