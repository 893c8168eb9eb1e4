"""Compile the protos before the packages are looked for: the stubs are one of them."""

import runpy
from pathlib import Path

from setuptools import setup

runpy.run_path(str(Path(__file__).parent / "protos" / "compile.py"))["main"]()
setup()
