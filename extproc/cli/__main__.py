"""`python -m extproc.cli`: the same as `tollgate`."""

from extproc.cli import main

main()
