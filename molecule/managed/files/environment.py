"""Prints the Tyk variables of a process as JSON, as the kernel has them: environment.py PID."""

from __future__ import annotations

import json
import os
import sys

with open(f"/proc/{int(sys.argv[1])}/environ", "rb") as stream:
    lines = [os.fsdecode(entry).partition("=") for entry in stream.read().split(b"\0") if entry]
print(json.dumps({name: value for name, _equals, value in lines if name.startswith("TYK_")}))
