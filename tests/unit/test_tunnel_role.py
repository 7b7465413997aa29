# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the role tunnel writes and refuses that no test of its tunnels can try."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml

ROLE = Path(__file__).resolve().parents[2] / "roles" / "tunnel"
ENVIRONMENT = jinja2.Environment(undefined=jinja2.StrictUndefined)
ENVIRONMENT.filters["comment"] = "# {}".format


def load(name: str) -> Any:
    return yaml.safe_load((ROLE / name).read_text(encoding="utf-8"))


def unit(connections: int) -> list[str]:
    files = ENVIRONMENT.from_string(load("vars/main.yml")["__tunnel_files"]).render(tunnel_connections=connections)
    template = ENVIRONMENT.from_string((ROLE / "templates" / "tyk-redis-tunnel.service.j2").read_text(encoding="utf-8"))
    return template.render(
        ansible_managed="of a test", tunnel_folder="/keys", __tunnel_user="somebody", __tunnel_files=files
    ).splitlines()


@pytest.mark.parametrize("connections", [1, 7501, 100000])
def test_a_haproxy_that_runs_can_take_more_connections_after_a_reload(connections: int) -> None:
    """It keeps the limit on files that it was started with, and takes two for each connection."""
    assert unit(connections) == unit(7500)
    assert "LimitNOFILE=524288" in unit(connections)


def test_a_limit_beyond_is_possible() -> None:
    assert "LimitNOFILE=601000" in unit(300000)


@pytest.mark.parametrize(
    ("mode", "distribution", "release", "possible"),
    [
        ("tls_tunnel", "Debian", "11", False),
        ("tls_tunnel", "Debian", "12", True),
        ("tls_tunnel", "Debian", "13", True),
        # Of a release that has no number yet.
        ("tls_tunnel", "Debian", "n/a", True),
        ("tls_tunnel", "Ubuntu", "11", True),
        ("spiped", "Debian", "11", True),
    ],
)
def test_debian_11_has_no_haproxy_for_tunnels(mode: str, distribution: str, release: str, possible: bool) -> None:
    (check,) = (task for task in load("tasks/assert.yml") if "HAProxy" in task["name"])
    (that,) = check["ansible.builtin.assert"]["that"]
    judged = ENVIRONMENT.compile_expression(that)(
        tunnel_mode=mode,
        ansible_facts={"distribution": distribution, "distribution_major_version": release},
        __tunnel_first_haproxy=load("vars/main.yml")["__tunnel_first_haproxy"],
    )
    assert judged is possible
    assert check["any_errors_fatal"] is True
