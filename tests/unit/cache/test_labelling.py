import asyncio
import json
import random
from collections.abc import Sequence
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.cache import CacheAway
from extproc.cache.embedders import Embedded
from extproc.cache.embedders.static import StaticEmbedder
from extproc.cache.judge import AT_ONCE, Judge
from extproc.cache.labelling import BATCH, JUDGED, MOST, Labeller


class Counted:
    def __init__(self) -> None:
        self.failures: list[str] = []
        self.tokens = 0

    def failed(self, part: Literal["embedder", "judge"], /) -> None:
        self.failures.append(part)

    def embedded(self, tokens: int, /) -> None:
        self.tokens += tokens


class Watched(StaticEmbedder):
    """Tells what it was asked; can be away, and read no further than so many characters."""

    def __init__(self, *, away: bool = False, reads: int = 1_000_000, tokens: int = 0) -> None:
        super().__init__()
        self.away = away
        self.reads = reads
        self.tokens = tokens
        self.asked: list[list[str]] = []

    def whole(self, text: str) -> bool:
        return len(text) <= self.reads

    async def embedded(self, texts: Sequence[str]) -> Embedded:
        self.asked.append(list(texts))
        if self.away:
            raise CacheAway("away")
        cut = [text[: self.reads] for text in texts]
        return Embedded((await super().embedded(cut)).vectors, self.tokens * len(texts))


class Saying(Judge):
    """Says what it is told to, in turn; then that it cannot tell."""

    def __init__(self, *verdicts: bool | None) -> None:
        super().__init__("http://nobody", None, told=Counted())
        self.verdicts = list(verdicts)
        self.asked: list[tuple[str, str, str, str]] = []

    async def same(self, chain: str, question: str, a: str, b: str) -> bool | None:
        self.asked.append((chain, question, a, b))
        return self.verdicts.pop(0) if self.verdicts else None


@pytest.fixture(scope="module")
def static() -> StaticEmbedder:
    return StaticEmbedder()


def chat(content: str | None, **more: Any) -> bytes:
    message = {"role": "assistant", "content": content, **more}
    return json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}).encode()


async def same(embedder: StaticEmbedder, a: str, b: str) -> bool:
    """Both ways."""
    labeller = Labeller(embedder, None, Counted())
    one = await labeller.equal("q", chat(a), [(1, chat(b))], "chat", None)
    other = await labeller.equal("q", chat(b), [(1, chat(a))], "chat", None)
    assert one == other
    return bool(one)


# Two models' answers to one sum, as they give them.
DUCKS = (
    " Janet starts with 16 eggs per day.\nShe eats 3 for breakfast, so she has 16 - 3 = 13 eggs "
    "left.\nShe uses 4 for baking, so she has 13 - 4 = 9 eggs left.\nShe sells these 9 eggs at the "
    "farmers' market for 9 * $2 = $<<9*2=18>>18.\n#### 18"
)
DUCKS_TOO = (
    "Janet uses 3 eggs for breakfast and 4 for baking muffins, which totals 3 + 4 = 7 eggs used "
    "daily.\nShe lays 16 eggs per day, so the remainder that she sells is 16 - 7 = 9 eggs.\nShe "
    "sells each egg for $2, so she makes 9 * $2 = $18 every day at the farmers' market."
)
DUCKS_WRONG = DUCKS_TOO.replace("16 - 7 = 9", "16 - 7 = 11").replace("9 * $2 = $18", "11 * 2 = $22")
POLICY = (
    "Our policy on remote work has been the same since it was written, and it covers everybody who "
    "has a contract with us. It says that work is done where the team agrees that it is done. A "
    "manager has to be asked first, and the equipment has to be insured by the company. Taxes and "
    "social insurance are looked at by the people team before anything is signed. Nobody is asked "
    "to come to the office for a meeting that could be held by video. "
)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (DUCKS, DUCKS_TOO),
        (DUCKS, "So she makes 9 eggs * $2 = $18 every day at the farmers' market. #### 18"),
        ("Paris.", "**Paris**"),
        ("The answer is 1,200 bolts.", "It takes 1200 bolts."),
        ("The capital of France is Paris.", "Paris is the capital of France."),
        (POLICY + "So you may work from home.", POLICY + "So you may work from home!"),
        ("フランスの首都はパリです。", "フランスの首都はパリです"),
        ("Столица Франции — Париж.", "Париж — столица Франции."),
        ('{"city": "Paris", "open": true}', '```json\n{"open": true, "city": "Paris"}\n```'),
        ('{"label": "billing", "sure": 1}', '{"sure": 1.0, "label": "Billing"}'),
    ],
)
async def test_the_same_in_other_words(static: StaticEmbedder, a: str, b: str) -> None:
    assert await same(static, a, b)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (DUCKS, DUCKS_WRONG),
        ("The capital is Paris.", "The capital is Lyon."),
        ("Yes, you may.", "No, you may not."),
        ("-5", "5"),
        ("The result is -5.", "The result is 5."),
        ("Use C#.", "Use C."),
        ("if (x < 3)", "if (x > 3)"),
        ("if (!ready) go()", "if (ready) go()"),
        ("x != y", "x = y"),
        ("It opens at 9. It costs 5.", "It opens at 10. It costs 5."),
        ("It is 5 km.", "It is 5 m."),
        ("It is 5 %.", "It is 5 €."),
        ("フランスの首都はパリです。", "フランスの首都はリヨンです。"),
        ("The car is red.", "The car is blue."),
        ("the capital is paris", "the capital is lyon"),
        ("Go to settings, then press save.", "Go to profile, then press send."),
        ("عاصمة فرنسا هي باريس", "عاصمة فرنسا هي ليون"),
        ("Столица Франции — Париж.", "Столица Франции — Лион."),
        ("עיר הבירה של צרפת היא פריז", "עיר הבירה של צרפת היא ליון"),
        ("फ्रांस की राजधानी पेरिस है।", "फ्रांस की राजधानी ल्यों है।"),
        ("عاصمة فرنسا هي باريس", "تقع مصر في شمال أفريقيا"),
        ('{"a": "b c"}', '{"a b": "c"}'),
        ('{"label": "billing"}', '{"label": "refund"}'),
        ('{"label": "billing", "sure": true}', '{"label": "billing", "sure": 1}'),
        ("[5, 1, 3]", "[5, 3, 1]"),
        ("[5, 1, 3]", "[5, 1]"),
        ('{"why": "You may work from home."}', '{"why": "You may not work from home."}'),
    ],
)
async def test_different_however_near(static: StaticEmbedder, a: str, b: str) -> None:
    assert not await same(static, a, b)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("So you may work from home.", "So you may not work from home."),
        ("So ask Anna for it.", "So ask Peter for it."),
        ("So it is open.", "So it is closed."),
        ("It takes 30 days.", "It takes 14 days."),
        ("In short: send the form to the people team.", "In short: throw the form away at home."),
        ("You have 30 days. See page 7.", "You have 14 days. See page 7."),
    ],
)
@pytest.mark.parametrize("times", [1, 2, 6])
async def test_long_answers_that_differ_only_at_the_end(
    static: StaticEmbedder, a: str, b: str, times: int
) -> None:
    assert not await same(static, POLICY * times + a, POLICY * times + b)
    assert not await same(static, POLICY * times + a + "\n" + POLICY, POLICY * times + b + POLICY)


async def test_what_differs_in_a_long_answer_may_be_said_in_other_words(
    static: StaticEmbedder,
) -> None:
    a = POLICY + "So you can work from home on most days."
    b = POLICY + "So you can work on most days from home."
    assert await same(static, a, b)


async def test_a_long_answer_about_the_same_is_not_the_same(static: StaticEmbedder) -> None:
    a = POLICY + "Whoever breaks the rules is told so in writing by the people team. " * 3
    b = (
        "Remote work is covered by the contract that everybody has with the company. "
        "The office has desks for all teams, and each manager plans when they are used. "
        "Equipment that is insured by the company stays in the office over night. "
        "Meetings are held by video where somebody cannot come. "
        "Taxes are paid where the work is done, which the people team looks after. "
    ) * 2
    assert not await same(static, a, b)


async def test_an_answer_that_is_not_read_to_its_end_is_not_equal_by_its_beginning() -> None:
    embedder = Watched(reads=60)
    start = "The form is to be filled in by everybody who wants to work from home"
    a, b = start + " and sent to the people team.", start + " and left on your own kitchen table."
    assert not await same(embedder, a, b)
    assert embedder.asked == []  # its vector would say the same of both
    assert await same(embedder, DUCKS, DUCKS_TOO)  # whose ends were compared by their words


def call(city: str, id_: str) -> dict[str, Any]:
    arguments = json.dumps({"city": city})
    return {"id": id_, "type": "function", "function": {"name": "sky", "arguments": arguments}}


async def test_calls_of_tools_are_compared_exactly(static: StaticEmbedder) -> None:
    answer = chat(None, tool_calls=[call("Paris", "a")])
    others = [
        (1, chat(None, tool_calls=[call("Paris", "b")])),
        (2, chat(None, tool_calls=[call("Lyon", "a")])),
        (3, chat(None, tool_calls=[call("Paris", "a"), call("Paris", "c")])),
        (4, chat("I cannot see the sky.")),
    ]
    labeller = Labeller(static, Saying(True, True), Counted())
    assert await labeller.equal("q", answer, others, "chat", "small") == {1}
    with_words = chat("Paris.", tool_calls=[call("Paris", "a")])
    assert await labeller.equal("q", with_words, [(1, chat("Paris."))], "chat", "small") == set()


async def test_formats_are_read_as_they_are(static: StaticEmbedder) -> None:
    labeller = Labeller(static, None, Counted())

    def message(text: str) -> bytes:
        return json.dumps({"content": [{"type": "text", "text": text}]}).encode()

    others = [(7, message("It is Paris.")), (8, message("paris")), (9, chat("Paris."))]
    assert await labeller.equal("q", message("Paris."), others, "messages", None) >= {8}
    assert 9 not in await labeller.equal("q", message("Paris."), others, "messages", None)


@pytest.mark.parametrize("answer", [b"", b"{}", b"\x00", chat(""), chat(None), chat("  ")])
async def test_what_says_nothing_equals_nothing(static: StaticEmbedder, answer: bytes) -> None:
    labeller = Labeller(static, Saying(True), Counted())
    assert await labeller.equal("q", answer, [(1, answer)], "chat", "small") == set()
    assert await labeller.equal("q", chat("Paris."), [(1, answer)], "chat", "small") == set()
    assert await labeller.equal("q", chat("Paris."), [], "chat", "small") == set()


# --- vectors --------------------------------------------------------------------------------


async def test_nothing_is_embedded_where_words_tell() -> None:
    embedder = Watched()
    labeller = Labeller(embedder, None, Counted())
    others = [(1, chat("paris")), (2, chat("It takes 4 bolts.")), (3, chat("No."))]
    assert await labeller.equal("q", chat("Paris."), others, "chat", None) == {1}
    assert await labeller.equal("q", chat("It takes 3 bolts."), others, "chat", None) == set()
    assert embedder.asked == []


async def test_each_text_is_embedded_once_and_what_it_costs_is_told() -> None:
    embedder, counted = Watched(tokens=5), Counted()
    labeller = Labeller(embedder, None, counted)
    answer = chat("The capital of France is Paris.")
    others = [(n, chat("Paris is the capital of France.")) for n in range(3)]
    others.append((3, chat("the capital of France, of course, is Paris")))
    assert await labeller.equal("q", answer, others, "chat", None) == {0, 1, 2, 3}
    (texts,) = embedder.asked
    assert len(texts) == len(set(texts)) == 3
    assert counted.tokens == 15


async def test_few_texts_are_embedded_at_a_time() -> None:
    embedder = Watched()
    labeller = Labeller(embedder, None, Counted())
    draw = random.Random(1)
    words = ("ink", "oak", "tin", "silk", "clay", "salt", "wool", "wax", "hay", "reed", "moss")
    answer, *others = (
        "\n".join(" ".join(draw.choices(words, k=40)) + "." for _ in range(6)) for _ in range(9)
    )
    numbered = [(n, chat(other)) for n, other in enumerate(others)]
    await labeller.equal("q", chat(answer), numbered, "chat", None)
    assert sum(map(len, embedder.asked)) > BATCH
    await asyncio.gather(
        *(labeller.equal("q", chat(DUCKS), [(1, chat(DUCKS_TOO))], "chat", None) for _ in range(9))
    )
    assert max(map(len, embedder.asked)) <= BATCH


async def test_words_alone_when_the_embedder_is_away() -> None:
    embedder, counted = Watched(away=True), Counted()
    labeller = Labeller(embedder, None, counted)
    others = [(1, chat("Paris is the capital of France.")), (2, chat("the capital: Paris!"))]
    answer = chat("The capital, Paris.")
    assert await labeller.equal("q", answer, others, "chat", None) == set()
    assert counted.failures == ["embedder"]
    assert await labeller.equal("q", answer, [(1, chat("THE CAPITAL, PARIS"))], "chat", None) == {1}
    assert await labeller.equal("q", chat(DUCKS), [(1, chat(DUCKS_TOO))], "chat", None) == {1}
    a, b = POLICY + "It is on page 7 of it all.", "As page 7 says: " + POLICY[::-1]
    assert await labeller.equal("q", chat(a), [(1, chat(b))], "chat", None) == set()


# --- the judge ------------------------------------------------------------------------------


async def test_a_judge_decides_what_rules_leave_open(static: StaticEmbedder) -> None:
    answer, other = "Photosynthesis turns light into sugar.", "Plants make sugar out of sunlight."
    for said, equal in ((True, {1}), (False, set()), (None, set())):
        judge = Saying(said)
        labeller = Labeller(static, judge, Counted())
        found = await labeller.equal("How?", chat(answer), [(1, chat(other))], "chat", "small")
        assert found == equal
        assert judge.asked == [("small", "How?", answer, other)]


async def test_no_judge_is_asked_without_a_chain_or_where_it_is_clear(
    static: StaticEmbedder,
) -> None:
    judge = Saying(True, True, True, True)
    labeller = Labeller(static, judge, Counted())
    sugar = chat("Plants make sugar out of sunlight.")
    light = chat("Photosynthesis turns light into sugar.")
    assert await labeller.equal("q", light, [(1, sugar)], "chat", None) == set()
    others = [
        (1, chat("It takes 4 bolts.")),
        (2, chat("Yes.")),
        (3, chat("IT TAKES 3 BOLTS")),
    ]
    assert await labeller.equal("q", chat("It takes 3 bolts."), others[::2], "chat", "small") == {3}
    assert await labeller.equal("q", chat("No."), others[1:2], "chat", "small") == set()
    far = [(1, chat("Der Zug nach Wien hält heute leider nicht in Linz."))]
    assert await labeller.equal("q", light, far, "chat", "small") == set()
    assert judge.asked == []


async def test_who_says_more_is_left_to_the_judge(static: StaticEmbedder) -> None:
    judge = Saying(True, True)
    labeller = Labeller(static, judge, Counted())
    others = [
        (1, chat("It is Paris, in the Île-de-France.")),
        (2, chat("It is Paris. It has 2 million people.")),
    ]
    assert await labeller.equal("q", chat("It is Paris."), others, "chat", "small") == {1, 2}
    assert await labeller.equal("q", chat("It is Paris."), others, "chat", None) == set()


async def test_a_judge_is_asked_about_the_nearest_few_and_not_again_when_it_is_away(
    static: StaticEmbedder,
) -> None:
    ways = ("in the sun", "at noon", "by day", "in spring", "on a field", "in leaves", "near water")
    others = [(n, chat(f"Plants make sugar {way}.")) for n, way in enumerate(ways)]
    answer = chat("Photosynthesis turns light into sugar.")
    judge = Saying(*[True] * MOST)
    labeller = Labeller(static, judge, Counted())
    found = await labeller.equal("q", answer, others, "chat", "small")
    assert found == {0, 1, 2}
    assert len(judge.asked) == JUDGED < AT_ONCE
    judge = Saying(None, True)
    labeller = Labeller(static, judge, Counted())
    assert await labeller.equal("q", answer, others, "chat", "small") == set()
    assert len(judge.asked) == 1


async def test_an_answer_too_long_for_the_judge_does_not_keep_others_from_it(
    static: StaticEmbedder,
) -> None:
    judge = Saying(True)
    labeller = Labeller(static, judge, Counted())
    others = [
        (1, chat("Plants make sugar. " + "They need light for it. " * 500)),
        (2, chat("Plants make sugar out of sunlight.")),
    ]
    answer = chat("Photosynthesis turns light into sugar.")
    assert await labeller.equal("q", answer, others, "chat", "small") == {2}
    assert len(judge.asked) == 1


async def test_no_more_than_so_many_are_looked_at(static: StaticEmbedder) -> None:
    labeller = Labeller(static, None, Counted())
    others = [(n, chat("Paris")) for n in range(MOST + 5)]
    assert await labeller.equal("q", chat("Paris."), others, "chat", None) == set(range(MOST))


# --- whatever comes -------------------------------------------------------------------------

PIECES = st.sampled_from(
    ["Paris", " is ", "not ", "5", "-5", " km", ". ", "\n", "#### 5", "{", '"a": ', "}", "[", "。"]
)


@given(st.lists(PIECES, max_size=30).map("".join), st.lists(PIECES, max_size=30).map("".join))
def test_no_answer_makes_it_fail_and_sides_do_not_matter(a: str, b: str) -> None:
    embedder = _STATIC

    async def both() -> None:
        await same(embedder, a, b)
        if a.strip():
            assert await same(embedder, a, a)

    asyncio.run(both())


_STATIC = StaticEmbedder()


@pytest.mark.parametrize(
    "text",
    [
        "x" * 1_000_000,
        "a. " * 300_000,
        "1 " * 500_000,
        "[" * 500_000,
        "# " * 400_000,
        "\n" * 9 + "-",
    ],
)
async def test_large_answers_are_told_apart_in_no_time(static: StaticEmbedder, text: str) -> None:
    assert await same(static, text, text)
    assert not await same(static, text, text + " and 7 more")
    # Below the bound on what is compared all the rules apply.
    await same(static, text[:49_000], "Nothing is so. " + text[:48_000])
    assert not await same(static, text[:49_000], text[:48_000] + " and not 7")
