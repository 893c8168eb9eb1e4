from pathlib import Path

import pytest

from extproc.cache.embedders import EmbedderError, embedder, models_folder


def test_static_is_there(tmp_path: Path) -> None:
    assert embedder("static", None, None, {}, tmp_path).id.startswith("static/")


def test_http_needs_a_url_and_a_model(tmp_path: Path) -> None:
    with pytest.raises(EmbedderError, match="URL must be"):
        embedder("http", None, "m", {}, tmp_path)
    with pytest.raises(EmbedderError, match="the name of the endpoint's model"):
        embedder("http", "http://a", None, {}, tmp_path)


def test_the_token_must_fit_a_header(tmp_path: Path) -> None:
    with pytest.raises(EmbedderError, match="TOLLGATE_EMBEDDER_TOKEN"):
        embedder("http", "http://a", "m", {"TOLLGATE_EMBEDDER_TOKEN": "a\nb"}, tmp_path)


@pytest.mark.parametrize("name", ["static", "minilm"])
def test_a_url_is_for_http_alone(name: str, tmp_path: Path) -> None:
    with pytest.raises(EmbedderError, match="for the embedder 'http'"):
        embedder(name, "http://a", None, {}, tmp_path)


def test_what_there_is_not_is_told(tmp_path: Path) -> None:
    with pytest.raises(EmbedderError, match="there are static, minilm, http"):
        embedder("openai", None, None, {}, tmp_path)


def test_where_models_are(tmp_path: Path) -> None:
    assert models_folder({}, tmp_path) == tmp_path / "models"
    assert models_folder({"TOLLGATE_MODELS": " /m "}, tmp_path) == Path("/m")
    with pytest.raises(EmbedderError, match=r"models/minilm-int8\.onnx"):
        embedder("minilm", None, None, {}, tmp_path)
