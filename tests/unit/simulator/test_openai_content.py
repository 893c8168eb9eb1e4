import base64
from typing import Any

import pytest

from tests.unit.simulator.talk import Talk

PNG = "data:image/png;base64," + base64.b64encode(b"\x89PNG").decode()
PDF = "data:application/pdf;base64," + base64.b64encode(b"%PDF-1.7").decode()
WAV = base64.b64encode(b"RIFF").decode()


def part(kind: str, value: Any) -> dict[str, Any]:
    return {"type": kind, kind: value}


@pytest.mark.parametrize(
    "content",
    [
        part("image_url", {"url": PNG, "detail": "high"}),
        part("image_url", {"url": "https://example.com/a.png"}),
        part("input_audio", {"data": WAV, "format": "wav"}),
        part("file", {"file_data": PDF, "filename": "a.pdf"}),
        part("file", {"file_id": "file-1"}),
    ],
)
async def test_takes_images_sound_and_files(talk: Talk, content: Any) -> None:
    turn = {"role": "user", "content": [{"type": "text", "text": "look"}, content]}
    assert (await talk.chat("openai", messages=[turn])).status == 200


@pytest.mark.parametrize(
    ("content", "param", "words"),
    [
        (part("image_url", {"url": "nonsense"}), "image_url.url", "Expected a valid URL"),
        (
            part("image_url", {"url": "data:image/png;base64,%%%"}),
            "image_url.url",
            "Invalid base64 image_url",
        ),
        (
            part("image_url", {"url": PDF}),
            "image_url.url",
            "Only image types are supported",
        ),
        (part("image_url", {"url": PNG, "detail": "huge"}), "image_url.detail", "'huge'"),
        (part("input_audio", {"data": "?", "format": "wav"}), "input_audio.data", "base64"),
        (part("input_audio", {"data": WAV, "format": "ogg"}), "input_audio.format", "'ogg'"),
        (part("file", {"file_data": PDF}), "file.file_id", "Missing required parameter"),
        (
            part("file", {"file_data": "JVBERi0=", "filename": "a.pdf"}),
            "file.file_data",
            "without the 'data:' prefix",
        ),
        (part("file", {"file_data": PDF, "file_id": "f"}), "file", "Mutually exclusive"),
    ],
)
async def test_refuses_parts_it_cannot_read(
    talk: Talk, content: Any, param: str, words: str
) -> None:
    heard = await talk.chat("openai", messages=[{"role": "user", "content": [content]}])
    error = heard.json["error"]
    assert heard.status == 400
    assert error["param"] == f"messages[0].content[0].{param}"
    assert words in error["message"]


async def test_only_users_send_images(talk: Talk) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    image = part("image_url", {"url": PNG})
    messages = [
        {"role": "user", "content": "draw"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": [image]},
    ]
    heard = await talk.chat("openai", messages=messages)
    assert heard.status == 400
    assert heard.json["error"]["message"] == (
        "Invalid 'messages[2]'. Image URLs are only allowed for messages with role 'user', but "
        "this message with role 'tool' contains an image URL."
    )


async def test_fields_of_other_servers_are_unknown(talk: Talk) -> None:
    messages = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": "y", "reasoning_content": "z"},
    ]
    heard = await talk.chat("openai", messages=messages)
    assert heard.json["error"]["message"] == "Unknown parameter: 'messages[1].reasoning_content'."
