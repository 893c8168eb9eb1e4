import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from extproc.identity import KeySecret, SecretError, load_secret
from extproc.identity.secret import FILE, VARIABLE, settle
from tests.unit.identity.keystore import MemoryKeys


def test_the_environment_goes_first(tmp_path: Path) -> None:
    secret = load_secret({VARIABLE: "0123456789abcdef\n"}, tmp_path)
    assert secret.digest("x") == KeySecret(b"0123456789abcdef").digest("x")
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "data"
    first = load_secret({}, folder)
    assert [one.name for one in folder.iterdir()] == [FILE]
    assert (folder / FILE).stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o077 == 0
    assert load_secret({}, folder).digest("x") == first.digest("x")
    assert load_secret({}, tmp_path / "other").digest("x") != first.digest("x")


def test_workers_that_start_at_once_agree(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: load_secret({}, tmp_path).fingerprint, range(32)))
    assert len(set(found)) == 1
    assert [one.name for one in tmp_path.iterdir()] == [FILE]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644, 0o660, 0o777])
def test_a_file_that_others_reach_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / FILE
    path.write_text("0123456789abcdef")
    path.chmod(mode)
    with pytest.raises(SecretError, match=f"others may read or change it .mode {mode:04o}"):
        load_secret({}, tmp_path)


def test_a_short_secret_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match="TOLLGATE_KEY_SECRET: 15 bytes are too short"):
        load_secret({VARIABLE: "0123456789abcde  \n"}, tmp_path)
    with pytest.raises(SecretError, match="0 bytes are too short"):
        load_secret({VARIABLE: ""}, tmp_path)
    path = tmp_path / FILE
    path.touch(0o600)
    with pytest.raises(SecretError, match="key-secret: 0 bytes are too short"):
        load_secret({}, tmp_path)


def test_another_file_is_no_secret(tmp_path: Path) -> None:
    path = tmp_path / FILE
    path.write_bytes(b"x" * 100_000)
    path.chmod(0o600)
    with pytest.raises(SecretError, match="not a secret but another file"):
        load_secret({}, tmp_path)
    path.unlink()
    path.mkdir()
    with pytest.raises(SecretError, match="key-secret"):
        load_secret({}, tmp_path)


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SecretError, match=r"Not a directory|File exists"):
        load_secret({}, tmp_path / "file" / "data")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_anothers_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / FILE
    path.write_text("0123456789abcdef")
    path.chmod(0o600)
    os.chown(path, 12345, -1)
    with pytest.raises(SecretError, match="belongs to user 12345"):
        load_secret({}, tmp_path)


def test_nothing_gives_the_secret_away() -> None:
    secret = KeySecret(b"0123456789abcdef")
    assert "0123456789abcdef" not in repr(secret)
    known = {secret.fingerprint, secret.digest("fingerprint"), secret.derive("records").hex()}
    assert len(known) == 3
    assert secret.derive("records") != secret.derive("users")


async def test_gateways_with_one_store_need_one_secret() -> None:
    store = MemoryKeys()
    secret = KeySecret(b"0123456789abcdef")
    await settle(secret, store)
    await settle(KeySecret(b"0123456789abcdef"), store)
    with pytest.raises(SecretError, match="made with another secret"):
        await settle(KeySecret(b"0123456789abcdeX"), store)
    assert store.settings == {"key-secret": secret.fingerprint}
