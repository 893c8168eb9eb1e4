import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.accounting import Meter, Usage, meter_of, usd
from extproc.accounting.chat import ChatMeter
from extproc.catalogue import Price, compile_price
from extproc.policy import Price as PriceText

PRICE = compile_price(PriceText(input="0.15", output="0.60", cached_input="0.075"))
CAP = ChatMeter.cap
DONE = b"data: [DONE]\n\n"
USAGE = {"prompt_tokens": 12, "completion_tokens": 34, "total_tokens": 46}
COMMENT = b": tollgate cost=0.0000222 input=12 output=34\n\n"


def event(**members: Any) -> bytes:
    chunk = {"id": "c", "object": "chat.completion.chunk", "model": "gpt-4o-mini-2024-07-18"}
    return b"data: " + json.dumps(chunk | members, ensure_ascii=False).encode() + b"\n\n"


def text(content: str, **members: Any) -> bytes:
    return event(choices=[{"index": 0, "delta": {"content": content}}], **members)


ROLE = event(choices=[{"index": 0, "delta": {"role": "assistant", "content": ""}}], usage=None)
STOP = event(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}], usage=None)
TOTAL = event(choices=[], usage=USAGE)
PLAIN = ROLE + text("Hello", usage=None) + text(" world", usage=None) + STOP


def run(
    *pieces: bytes, hide: bool = True, price: Price | None = PRICE, tokens: int = 0
) -> tuple[bytes, Meter]:
    one = meter_of("chat", hide_usage=hide, price=price, input_estimate=tokens)
    return b"".join([one.feed(piece) for piece in pieces]) + one.end(), one


def test_usage_nobody_asked_for_is_noted_and_hidden() -> None:
    out, one = run(PLAIN, TOTAL, DONE)
    assert out == PLAIN + COMMENT + DONE
    assert one.usage == one.billed() == Usage(12, 34)
    assert (one.model, one.finish_reason) == ("gpt-4o-mini-2024-07-18", "stop")
    assert (one.done, one.failed, one.events) == (True, False, 2)


def test_usage_that_was_asked_for_gets_the_exact_cost() -> None:
    out, _ = run(PLAIN, TOTAL, DONE, hide=False)
    assert out.startswith(PLAIN)
    assert out.endswith(DONE)
    last = out.removeprefix(PLAIN).removesuffix(DONE)
    assert last.startswith(b"data: ")
    chunk = json.loads(last[6:], parse_float=Decimal)
    assert chunk["usage"] == USAGE | {"cost": Decimal("0.0000222")}
    assert list(chunk) == ["id", "object", "model", "choices", "usage"]
    assert b": tollgate" not in out


def test_an_unknown_price_is_not_told_as_zero() -> None:
    out, one = run(PLAIN, TOTAL, DONE, price=None)
    assert out == PLAIN + b": tollgate input=12 output=34\n\n" + DONE
    assert one.cost() is None
    asked, _ = run(PLAIN, TOTAL, DONE, price=None, hide=False)
    assert asked == PLAIN + TOTAL + b": tollgate input=12 output=34\n\n" + DONE


def test_a_provider_without_usage_is_billed_by_an_estimate_that_says_so() -> None:
    out, one = run(ROLE, text("x" * 40), text("日本"), DONE, tokens=100)
    assert one.billed() == Usage(100, 12, estimated=True)
    assert b": tollgate cost=0.0000222 input=100 output=12 estimated\n\n" in out


def test_an_aborted_stream_is_billed_for_what_came() -> None:
    one = meter_of("chat", hide_usage=True, price=PRICE, input_estimate=10)
    one.feed(ROLE + text("x" * 400) + text("y" * 400)[:30])
    assert one.billed() == Usage(10, 100, estimated=True)
    assert not one.done


def test_tool_calls_reasoning_and_refusals_are_output() -> None:
    call = {"index": 0, "function": {"name": "find", "arguments": '{"q": 1}'}}
    for delta in ({"tool_calls": [call]}, {"reasoning_content": "x" * 12}, {"refusal": "x" * 12}):
        one = meter_of("chat", hide_usage=True, price=PRICE)
        one.feed(event(choices=[{"index": 0, "delta": delta}]))
        assert (one.events, one.content) == (1, True)
        assert one.billed().output == 3


def test_content_begins_with_the_first_text_not_with_the_role() -> None:
    one = meter_of("chat", hide_usage=True, price=PRICE)
    one.feed(b": ping\n\n" + ROLE)
    assert not one.content
    one.feed(text("H"))
    assert one.content


@pytest.mark.parametrize(
    "delta",
    [
        {"reasoning": "x" * 12},
        {"reasoning": "x" * 12, "reasoning_content": "x" * 12},
        {"audio": {"id": "a", "transcript": "x" * 12}},
        {"function_call": {"name": "find", "arguments": "x" * 8}},
        {"tool_calls": [{"index": 0, "custom": {"name": "find", "input": "x" * 8}}]},
        {"content": [{"type": "text", "text": "x" * 12}]},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "x" * 12}]}]},
    ],
)
def test_what_other_servers_and_older_clients_say_is_output(delta: dict[str, Any]) -> None:
    one = meter_of("chat", hide_usage=True, price=PRICE)
    sent = event(choices=[{"index": 0, "delta": delta, "finish_reason": "stop"}])
    assert one.feed(sent) == sent
    assert (one.events, one.content, one.finish_reason) == (1, True, "stop")
    assert one.billed().output == 3


@pytest.mark.parametrize(
    "delta", [{"images": [{"image_url": {"url": "data:"}}]}, {"audio": {"data": "UklGRg=="}}]
)
def test_a_picture_or_a_sound_is_content(delta: dict[str, Any]) -> None:
    one = meter_of("chat", hide_usage=True, price=PRICE)
    one.feed(event(choices=[{"index": 0, "delta": delta}]))
    assert (one.events, one.content, one.billed().output) == (1, True, 0)


def test_completions_carry_their_text_in_the_choices() -> None:
    def chunk(text: str, reason: str | None) -> bytes:
        return event(choices=[{"index": 0, "text": text, "finish_reason": reason}], usage=None)

    stream = chunk("x" * 8, None) + chunk("y" * 4, None) + chunk("", "length")
    one = meter_of("completions", hide_usage=True, price=PRICE, input_estimate=5)
    assert one.feed(stream) == stream
    assert one.billed() == Usage(5, 3, estimated=True)
    assert (one.events, one.finish_reason) == (2, "length")
    assert one.feed(TOTAL + DONE) == COMMENT + DONE
    assert one.billed() == Usage(12, 34)


def test_groqs_own_place_for_usage_is_read() -> None:
    last = event(choices=[{"delta": {}, "finish_reason": "stop"}], x_groq={"usage": USAGE})
    first = event(choices=[{"delta": {"role": "assistant"}}], x_groq={"id": "req_1"})
    out, one = run(first, text("x"), last, DONE)
    assert out == first + text("x") + last + COMMENT + DONE
    assert one.usage == Usage(12, 34)


def test_the_providers_own_cost_gives_way_to_ours() -> None:
    out, _ = run(text("x"), event(choices=[], usage=USAGE | {"cost": 0.5}), DONE, hide=False)
    assert b'"cost":0.0000222}' in out
    assert b"0.5" not in out


def test_done_with_spaces_around_it_is_done() -> None:
    out, one = run(text("x"), b"data:  [DONE] \n\n")
    assert one.done
    assert out.endswith(b"estimated\n\ndata:  [DONE] \n\n")


def test_a_finish_reason_alone_is_content() -> None:
    _, one = run(ROLE, STOP, DONE)
    assert (one.content, one.events) == (True, 0)


@pytest.mark.parametrize(
    "wrong",
    [
        b'data: {"error": {"message": "overloaded", "type": "server_error"}}\n\n',
        b'event: error\ndata: {"message": "overloaded"}\n\n',
        b"event:error\r\ndata: overloaded\r\n\r\n",
    ],
)
def test_an_error_event_is_seen_and_passed(wrong: bytes) -> None:
    out, one = run(text("x"), wrong)
    assert out == text("x") + wrong
    assert one.failed
    assert not one.done


def test_words_in_the_text_are_no_members() -> None:
    sly = text('"usage": {"prompt_tokens": 1}, "error": true, data: [DONE]\n\n')
    out, one = run(sly, TOTAL, DONE)
    assert out == sly + COMMENT + DONE
    assert not one.failed
    assert one.usage == Usage(12, 34)


def test_usage_beside_choices_passes_and_counts() -> None:
    running = text("x", usage=USAGE)
    out, one = run(running, DONE)
    assert out == running + COMMENT + DONE
    assert one.usage == Usage(12, 34)


def test_the_last_usage_counts() -> None:
    _, one = run(text("x", usage={"prompt_tokens": 12, "completion_tokens": 1}), TOTAL, DONE)
    assert one.usage == Usage(12, 34)


@pytest.mark.parametrize(
    "strange",
    [
        b"data: not json\n\n",
        b"data: [1, 2]\n\n",
        b"data: 12\n\n",
        b"data\n\n",
        b"id: 7\nretry: 10\n\n",
        b"\n\n",
        b"data: {\xff}\n\n",
        b'data: {"choices": {"0": 1}}\n\n',
        b'data: {"choices": [1], "model": 3}\n\n',
        b'data: {"choices": [{"delta": {"content": [{"type": "text"}]}}]}\n\n',
        b'data: {"choices": [], "usage": 3}\n\n',
        b'data: {"choices": [], "usage": []}\n\n',
        b"data: " + b"[" * 10_000 + b"\n\n",
    ],
)
def test_what_is_not_understood_passes_unchanged(strange: bytes) -> None:
    for hide in (True, False):
        out, one = run(text("x"), strange, TOTAL, DONE, hide=hide)
        assert strange in out
        assert one.done
        assert one.usage == Usage(12, 34)


def test_usage_with_nonsense_in_it_is_hidden_and_unknown() -> None:
    out, one = run(text("x" * 8), event(choices=[], usage={"prompt_tokens": -1}), DONE)
    assert one.usage is None
    assert b"prompt_tokens" not in out
    assert b"estimated" in out


def test_done_is_told_once() -> None:
    out, _ = run(DONE, DONE)
    assert out.count(b": tollgate") == 1


def test_the_epilogue_can_be_another() -> None:
    def epilogue(one: Meter) -> bytes:
        spent = one.cost()
        return b"" if spent is None else b": " + usd(spent.total).encode() + b"\n\n"

    one = meter_of("chat", hide_usage=True, price=PRICE, epilogue=epilogue)
    assert one.feed(TOTAL + DONE) == b": 0.0000222\n\n" + DONE


def test_done_without_its_blank_line_still_counts() -> None:
    out, one = run(PLAIN, TOTAL, b"data: [DONE]")
    assert out == PLAIN + COMMENT + DONE
    assert one.done


def test_half_an_event_at_the_end_is_dropped_so_that_what_follows_is_read() -> None:
    assert run(PLAIN, text("cut")[:40])[0] == PLAIN
    assert run(PLAIN, b": pin")[0] == PLAIN


def test_other_ends_of_line_are_understood() -> None:
    stream = PLAIN + TOTAL + DONE
    for end in (b"\r\n", b"\r"):
        other = stream.replace(b"\n", end)
        out, one = run(b"\xef\xbb\xbf" + other)
        assert one.usage == Usage(12, 34)
        assert one.done
        assert b"prompt_tokens" not in out
        assert out.replace(end, b"\n") == b"\xef\xbb\xbf" + PLAIN + COMMENT + DONE


def test_data_over_several_lines_is_one_event() -> None:
    lines = (
        b'data: {"choices": [],\ndata:  "usage":\ndata: ' + json.dumps(USAGE).encode() + b"}\n\n"
    )
    out, one = run(PLAIN, lines, DONE)
    assert out == PLAIN + COMMENT + DONE
    assert one.usage == Usage(12, 34)


def test_an_event_beyond_the_cap_passes_unread_and_is_not_held() -> None:
    big = text("x" * (CAP + 100))
    one = meter_of("chat", hide_usage=True, price=PRICE)
    sent = one.feed(big[: CAP + 50])
    assert len(sent) == CAP + 50
    assert sent + one.feed(big[CAP + 50 :] + TOTAL + DONE) == big + COMMENT + DONE
    assert one.events == 0
    assert run(big, TOTAL, DONE)[0] == big + COMMENT + DONE


def test_the_rest_of_a_giant_is_ended() -> None:
    out, _ = run(b"data: " + b"x" * (CAP + 100))
    assert out.endswith(b"xx\n\n")


@given(st.lists(st.text(max_size=20)))
def test_what_is_produced_is_counted(words: list[str]) -> None:
    _, one = run(*map(text, words))
    whole = "".join(words)
    ascii_bytes = sum(letter.isascii() for letter in whole)
    assert one.billed().output == (ascii_bytes + 3) // 4 + len(whole) - ascii_bytes
    assert one.events == sum(1 for word in words if word)
