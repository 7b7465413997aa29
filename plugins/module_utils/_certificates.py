# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection and may change at any time.

"""Which certificates are out of date, or soon will be. No I/O happens here."""

from __future__ import annotations

import calendar
import re
import time
import typing as t

WARN_DAYS = 30
DAY = 86400
_BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.S)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DATE = re.compile(r"([A-Z][a-z]{2}) +([0-9]{1,2}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) ([0-9]{4}) GMT")


def blocks(text: str) -> list[str]:
    """Every certificate of a PEM file, without what stands between them."""
    return _BLOCK.findall(text)


def seconds_of(date: str) -> int:
    """A date as OpenSSL prints it, such as ``Nov  3 21:00:00 2027 GMT``, in seconds since 1970.

    Raises:
        ValueError: it is none.
    """
    found = _DATE.fullmatch(date.strip())
    if not found or found[1] not in _MONTHS:
        raise ValueError(f"{date!r} is no date as OpenSSL prints it")
    month, (day, hour, minute, second, year) = _MONTHS.index(found[1]) + 1, map(int, found.groups()[1:])
    return calendar.timegm((year, month, day, hour, minute, second, 0, 0, 0))


def sentences(seen: t.Sequence[t.Mapping[str, t.Any]]) -> dict[str, list[str]]:
    """What is wrong and what soon will be.

    Args:
        seen: for each host its name as ``host``, and what tls_certificate_info returns as ``certificates`` and
            ``outdated``.

    Returns:
        ``problems``, certificates that are not valid now or that a server shows though the file has a newer one; and
        ``remarks``, those that end within 30 days.
    """
    problems, remarks = [], []
    for one in seen:
        for certificate in one["certificates"]:
            left, where = certificate["seconds_left"], f"{one['host']}: the certificate {certificate['path']}"
            until = time.strftime("%Y-%m-%d", time.gmtime(certificate["not_after"]))
            what = f"{where} ({certificate['subject']})"
            if left <= 0:
                problems.append(
                    f"{what} is valid no longer than {until}, which is past: {_remedy(certificate['path'])}"
                )
            elif left < WARN_DAYS * DAY:
                days = f"{left // DAY} day{'' if left // DAY == 1 else 's'}"
                remarks.append(f"{what} is valid until {until} only, {days} from now: {_remedy(certificate['path'])}")
        problems += [
            f"{one['host']}: {address} shows another certificate than {one['file']} has: run site.yml, which lets it be"
            " read."
            for address in one["outdated"]
        ]
        problems += [f"{one['host']}: {address} shows no certificate." for address in one["unreachable"]]
    return {"problems": problems, "remarks": remarks}


def _remedy(path: str) -> str:
    if path.endswith("/ca.crt"):
        return "rotate the authority, as docs/encryption.md describes."
    return "run site.yml, which renews those that its own authority has issued; others you have to bring."


_MARK = re.compile(r"# apiops\.tyk_redis authority ([0-9]+)")


def unready(
    hosts: t.Iterable[t.Mapping[str, t.Any]],
    authority: int,
    trusted: t.Collection[int],
    missing: t.Sequence[str] = (),
) -> list[str]:
    """The hosts that a step of a rotation would cut off.

    Args:
        hosts: the variables of each, with ``inventory_hostname`` and ``__pki_there``, whose ``stdout`` has for each of
            the host's folders what it shows, a line of ``=====``, what it trusts, and a line of ``#####``.
        authority: the number of the one that shall issue.
        trusted: the numbers of those that shall be trusted.
        missing: hosts of which nothing is known. They are cut off by a step that takes something away: that lets
            another authority issue, or ends the trust in one.
    """
    found = []
    takes_away = False
    for host in hosts:
        for folder in host["__pki_there"].get("stdout", "").split("#####"):
            shown, _line, trusts = folder.partition("=====")
            shows = [int(number) for number in _MARK.findall(shown)][:1]
            known = {int(number) for number in _MARK.findall(trusts)}
            if not shows:
                continue
            if (authority not in known and shows != [authority]) or shows[0] not in trusted:
                found.append(str(host["inventory_hostname"]))
            takes_away = takes_away or shows != [authority] or not known <= set(trusted)
    return [*dict.fromkeys(found), *(missing if takes_away else ())]
