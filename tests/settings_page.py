# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Write docs/tyk-settings.md from the table of settings; with --check, say whether it is what the table says."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_acl import RIGHTS
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_faults import FAULTS
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_settings import COMPONENTS, Component, Setting
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_versions import spoken

PAGE = Path(__file__).resolve().parent.parent / "docs" / "tyk-settings.md"

BEGIN = """\
# What Tyk reads about Redis

This page is written by `make docs` from the table that `tyk_config`, `tyk_redis_check` and the role `tyk` work with.

Versions are the first ones of each release line: "5.8.6 (line 5.8) or 5.10.0" means 5.8.6 to 5.8.x, and 5.10.0 and
later, but not 5.9. The environment wins over the file in every component. Dashboard and MDCB are closed source: their
rows come from documentation only.

Short names of sources: gw is TykTechnologies/tyk v5.14.0, pump is TykTechnologies/tyk-pump v1.16.0, lib is
TykTechnologies/storage v1.3.4, docs is TykTechnologies/tyk-docs `95922c95`, charts is TykTechnologies/tyk-charts
`39957f36`.
"""


def table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    names = list(headings)
    yield f"| {' | '.join(names)} |"
    yield f"| {' | '.join('---' for _name in names)} |"
    for row in rows:
        cells = [cell.replace("|", "\\|") for cell in row]
        yield f"| {' | '.join(cells)} |"
    yield ""


def code(text: str) -> str:
    return f"`{text}`" if text else ""


def versions(setting: Setting) -> str:
    since = f"from {spoken(setting.since)}" if setting.since else ""
    until = f"up to {setting.until}" if setting.until else ""
    return ", ".join(word for word in (since, until) if word)


def note(setting: Setting) -> str:
    words = [setting.note] if setting.note else []
    if setting.unit:
        words.append(f"In {setting.unit}.")
    if setting.references:
        schemes = ", ".join(f"`{scheme}://` from {spoken(since)}" for scheme, since in setting.references.items())
        words.append(f"Resolves {schemes}.")
    return " ".join(words)


def settings(rows: Iterable[Setting]) -> Iterator[str]:
    headings = ("setting", "key", "type", "default", "variables, the strongest first", "versions", "remarks", "source")
    yield from table(
        headings,
        (
            (
                code(setting.logical),
                code(".".join(setting.path)),
                setting.json_type,
                setting.default,
                "<br>".join(code(name) for name in setting.env),
                versions(setting),
                note(setting),
                setting.source,
            )
            for setting in rows
        ),
    )


def of_component(component: Component) -> Iterator[str]:
    yield f"## {component.title}"
    yield ""
    files = ", ".join(code(path) for path in component.env_files)
    yield f"File `{component.config_path}`, unit `{component.service}`, environment files {files}."
    if component.omit_config_env:
        yield f"`{component.omit_config_env}=true` makes it ignore the file."
    yield ""
    for section in component.sections.values():
        yield f"### {component.title}: {section.title}"
        yield ""
        if section.note:
            yield section.note
            yield ""
        if section.enabled_by:
            flags = " and ".join(code(component.flags[flag].dotted) for flag in section.enabled_by)
            yield f"In use while {flags} is true."
            yield ""
        yield from settings(section.settings.values())
    yield f"### {component.title}: beside the stores"
    yield ""
    yield from settings(component.flags.values())


def rights() -> Iterator[str]:
    yield "## What each component's user may do"
    yield ""
    yield "The rules that `redis_acl_user` and the role `redis` give to the user of a component."
    yield ""
    yield from table(
        ("component", "keys", "channels", "commands", "source"),
        (
            (
                one.component,
                " ".join(code(f"~{key}") for key in one.keys),
                " ".join(code(f"&{channel}") for channel in one.channels),
                " ".join(one.broad) if one.broad else f"-@all {' '.join(f'+{name}' for name in one.commands)}",
                one.source,
            )
            for one in RIGHTS.values()
        ),
    )


def faults() -> Iterator[str]:
    yield "## Known faults"
    yield ""
    yield "`tyk_config` and `tyk_redis_check` say so when a component's version and its settings meet one of these."
    yield ""
    yield from table(
        ("component", "from", "mended in", "what", "source"),
        (
            (
                fault.component,
                spoken(fault.since) if fault.since else "",
                spoken(fault.fixed) if fault.fixed else "(it is the setting)",
                fault.sentence.format(
                    title=COMPONENTS[fault.component].title,
                    version="",
                    fixed=spoken(fault.fixed) if fault.fixed else "",
                ).replace("  ", " "),
                fault.source,
            )
            for fault in FAULTS
        ),
    )


def page() -> str:
    lines = [BEGIN]
    for component in COMPONENTS.values():
        lines += of_component(component)
    lines += rights()
    lines += faults()
    return "\n".join(lines).rstrip() + "\n"


def main() -> int:
    text = page()
    if sys.argv[1:] == ["--check"]:
        if PAGE.exists() and PAGE.read_text() == text:
            return 0
        print(f"{PAGE.relative_to(PAGE.parent.parent)} is not what the table says: run make docs.")
        return 1
    PAGE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
