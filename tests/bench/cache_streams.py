"""Streams of questions with known answers, of public data: `python -m tests.bench.cache_streams
DATA OUT` writes one file each for `tests.bench.cache_stream`.

DATA has the folders `banking77` and `clinc150` (an intent is an answer; what is out of scope has
one of its own), `gptcache` (pairs of paraphrases), `mt_bench`, `routellm` and `notinject`
(questions that nobody asks twice).
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

from tests.bench.cache_drive import Turn
from tests.bench.cache_questions import creative, facts, twins

_LONGEST = 600


def streams(data: Path) -> dict[str, list[Turn]]:
    """Every stream by its name."""
    return {
        "banking77": [
            Turn(one["text"].strip(), one["category"]) for one in _csv(data / "banking77/train.csv")
        ],
        "clinc150": _clinc(data),
        "gptcache": _gptcache(data),
        "facts": [Turn(*one) for one in facts(2600)],
        "unique": _unique(data),
        "creative": [Turn(*one) for one in creative(1500)],
        "twins": [Turn(*one) for one in twins(_asked(data) + _exam(data)[:700])],
    }


def _csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def _clinc(data: Path) -> list[Turn]:
    parts = json.loads((data / "clinc150/train_val.json").read_text("utf-8"))
    return [
        Turn(text, f"{part}-{at}" if intent == "oos" else intent)
        for part, rows in parts.items()
        for at, (text, intent) in enumerate(rows)
    ]


def _gptcache(data: Path) -> list[Turn]:
    pairs = json.loads((data / "gptcache/mock_data_first500.json").read_text("utf-8"))
    return [
        Turn(one[side], str(at)) for at, one in enumerate(pairs) for side in ("origin", "similar")
    ]


def _unique(data: Path) -> list[Turn]:
    texts = [*_asked(data), *(one["prompt"] for one in _csv(data / "routellm/gsm8k_first600.csv"))]
    texts += _exam(data)
    texts += [turn[0] for turn in creative(1500)]
    return [Turn(text, f"unique-{at}") for at, text in enumerate(dict.fromkeys(texts))]


def _asked(data: Path) -> list[str]:
    texts = [
        json.loads(line)["turns"][0]
        for name in ("mt_bench_question", "vicuna_bench_question")
        for line in (data / f"mt_bench/{name}.jsonl").read_text("utf-8").splitlines()
    ]
    return texts + [
        one["prompt"]
        for one in json.loads((data / "notinject/NotInject_one.json").read_text("utf-8"))
    ]


def _exam(data: Path) -> list[str]:
    return [
        one["prompt"][:_LONGEST]
        for path in sorted((data / "routellm/mmlu").glob("*.csv"))
        for one in _csv(path)[:40]
    ]


def main() -> None:
    data, out = Path(sys.argv[1]), Path(sys.argv[2])
    for name, turns in streams(data).items():
        lines = (json.dumps(one._asdict(), ensure_ascii=False) + "\n" for one in turns)
        (out / f"{name}.jsonl").write_text("".join(lines), "utf-8")
        print(name, len(turns), "requests,", len({one.answer for one in turns}), "answers")


if __name__ == "__main__":
    main()
