"""The command and the doors."""

import asyncio
import signal
import socket
import sys
from pathlib import Path

import pytest

from extproc import simulator
from extproc.simulator import Simulator, parse_port, port_of
from extproc.simulator.__main__ import main
from tests.unit.simulator.talk import Talk


def test_ports_are_read() -> None:
    assert parse_port("openai=1") == port_of("openai", 1)
    assert parse_port("mine=2:gemini").dialect == "gemini"
    assert parse_port("anthropic=3").dialect == "anthropic"
    assert not parse_port("local-2=4").hosted
    assert not parse_port("mine=2:openai:keyless").hosted
    assert parse_port("mine=2:openai").hosted
    for wrong in ("x", "x=", "=1", "x=1:klingon", "x=99999", "x=1:openai:free"):
        with pytest.raises(ValueError, match=r"."):
            parse_port(wrong)


async def test_a_busy_port_is_named_and_nothing_stays_open() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        other = Simulator({"a": 0, "openai": number})
        with pytest.raises(OSError, match=rf"port {number} \(openai\) is taken"):
            await other.__aenter__()
        assert other._servers == []


async def test_closing_drops_what_is_open() -> None:
    async with Simulator({"local": 0}) as sim, Talk(sim) as talk:
        held = asyncio.create_task(talk.chat("local", stream=True, script={"silence": 2}))
        await talk.sent(2)
        await sim.close()
        assert (await held).broken is not None


@pytest.mark.parametrize(
    ("name", "text"),
    [("c.json", '{"local": {"status": 503}}'), ("c.yaml", "local: {status: 503}\n")],
)
async def test_config_file(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    async with Simulator({"local": 0}, config=path) as sim, Talk(sim) as talk:
        assert (await talk.chat("local")).status == 503


@pytest.mark.parametrize("text", ["{", '{"local": {"foo": 1}}', "[]"])
def test_a_wrong_config_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "c.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"c\.json"):
        Simulator({"local": 0}, config=path)


def test_command_says_what_is_wrong_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--port", "x"]) == 1
    assert capsys.readouterr().err == "simulator: 'x' is not name=port[:dialect[:keyless]]\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_command_serves_until_told_to_stop(number: signal.Signals) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "extproc.simulator",
        "--port",
        f"local={port}",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), 20)
    assert line.decode() == f"simulator: local=http://127.0.0.1:{port}\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /_sim/healthz HTTP/1.1\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    process.send_signal(number)
    _, errors = await asyncio.wait_for(process.communicate(), 10)
    assert (process.returncode, errors) == (0, b"")
    writer.close()


def test_it_imports_nothing_else_of_tollgate() -> None:
    for path in Path(simulator.__file__).parent.glob("*.py"):
        for line in path.read_text().splitlines():
            if line.startswith(("from extproc", "import extproc")):
                assert "extproc.simulator" in line
