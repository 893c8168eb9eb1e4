"""What the first part of docs/dialects.md says becomes of a request's features."""

import json
from typing import Any

import pytest

from extproc.dialects import Wire
from extproc.errors import ClientError
from tests.unit.dialects.cells import DIALECTS as NAMES
from tests.unit.dialects.cells import AsIs, Dropped, LeftOut, Refused, Sent
from tests.unit.dialects.features import FEATURES
from tests.unit.dialects.samples import DIALECTS, body, level
from tests.unit.dialects.table_requests import REQUESTS

STREAMED: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
CASES = [
    pytest.param(feature, name, fields, id=f"{name}-{feature}-{mode}")
    for feature, added in FEATURES.items()
    for name in NAMES
    for mode, fields in (("whole", added), ("streamed", {**added, **STREAMED}))
]


def at(tree: Any, path: str) -> Any:
    """What stands at a path; None where nothing does."""
    for step in path.split("."):
        if isinstance(tree, list):
            tree = tree[int(step)] if int(step) < len(tree) else None
        else:
            tree = (tree or {}).get(step)
    return tree


def send(name: str, fields: dict[str, Any]) -> Wire:
    return level(name).request(body(**fields))


@pytest.mark.parametrize(("feature", "name", "fields"), CASES)
def test_becomes(feature: str, name: str, fields: dict[str, Any]) -> None:
    cell = REQUESTS[feature][name]
    given = body(**fields)
    lacks = DIALECTS[name].lacks(given)
    if isinstance(cell, Refused):
        assert lacks == cell.text
        with pytest.raises(ClientError) as caught:
            send(name, fields)
        assert (caught.value.status, caught.value.message) == (400, cell.text)
        return
    assert lacks is None
    wire = send(name, fields)
    made = json.loads(wire.body)
    if isinstance(cell, Sent):
        assert {path: at(made, path) for path in cell.at} == cell.at
        assert wire.warnings == cell.warns
    elif isinstance(cell, AsIs):
        model = DIALECTS[name].target.deployment or DIALECTS[name].target.model
        assert list(json.loads(given).items()) == [
            (key, "flagship" if key == "model" else value) for key, value in made.items()
        ]
        assert made["model"] == model
        assert wire.warnings == ()
    else:
        assert isinstance(cell, Dropped | LeftOut)
        assert wire.warnings == (cell.names if isinstance(cell, Dropped) else ())
        plain = send(name, {key: fields[key] for key in STREAMED if key in fields})
        if "messages" not in fields:
            assert made == json.loads(plain.body)
        for value in _only_in(feature):
            assert json.dumps(value) not in wire.body.decode()


def _only_in(feature: str) -> list[str]:
    """What must be nowhere in a body that leaves the feature out."""
    return {"cache_control": ["cache_control"], "image detail": ["detail"]}.get(feature, [])
