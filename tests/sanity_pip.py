# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stand-in for get-pip.py that tests/run_suites.py hands to ansible-test.

ansible-test downloads a bootstrap script before it installs the tools of its sanity tests. Python carries a pip of its
own, so nothing need be downloaded from anywhere but the package index that this machine is set up for.
"""

from __future__ import annotations

import subprocess
import sys

# ensurepip switches pip's configuration off in the process it runs in, so it gets a process of its own.
subprocess.run([sys.executable, "-m", "ensurepip"], check=True)
wanted = [argument for argument in sys.argv[1:] if argument not in ("--no-setuptools", "--no-wheel")]
sys.exit(subprocess.run([sys.executable, "-m", "pip", "install", *wanted], check=False).returncode)
