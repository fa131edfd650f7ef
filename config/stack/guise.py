"""As whom PostgreSQL runs. It refuses root, and a user id that has no name; everybody else runs it as himself.

For root, in this order: the owner of an existing data directory; the owner of the checkout, when that is a person
(`sudo make run`); root seen through a user namespace as `nobody`, which needs no chown and no open directory; where
namespaces are refused, `nobody` in earnest, plainly or with the one capability that lets it walk through root's private
directories. A user id without a name (a container may run as any number) takes the namespace too.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from config.stack.errors import StackError

NOBODY = 65534
UNSHARE = ("unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}")
SETPRIV = (
    "setpriv",
    f"--reuid={NOBODY}",
    f"--regid={NOBODY}",
    "--clear-groups",
    "--inh-caps=-all,+dac_override",
    "--ambient-caps=-all,+dac_override",
)
REFUSED = (
    "PostgreSQL does not run as root, and this machine refuses both ways around it (user namespaces, and the "
    "user 'nobody'). Run this as an ordinary user, or set DATABASE_URL=postgres://user:password@host:5432/clipledger "
    "to use a PostgreSQL of your own."
)
NAMELESS = (
    "PostgreSQL does not run under a user id without a name, and {uid} has none here. Give it one in /etc/passwd, or "
    "set DATABASE_URL=postgres://user:password@host:5432/clipledger to use a PostgreSQL of your own."
)


@dataclass(frozen=True, kw_only=True)
class Guise:
    """A command prefix, or a user and group to become, or neither."""

    prefix: tuple[str, ...] = ()
    uid: int | None = None
    gid: int | None = None
    owner: int | None = None

    def run(
        self, argv: Sequence[str | Path], *, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end in this guise; output is captured, the exit code is the caller's to judge."""
        return subprocess.run(
            [*self.prefix, *map(str, argv)],
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            env=env,
            cwd=cwd,
            user=self.uid,
            group=self.gid,
            extra_groups=None if self.uid is None else [],
        )


def choose(directory: Path, *, checkout: Path, binary: Path) -> Guise:
    """The first guise in which `binary` runs and `directory` can be written; `directory` ends up owned by it.

    Raises StackError with what to do instead when there is none.
    """
    if os.geteuid() != 0:
        return _for_person(directory, binary)
    for guise in _candidates(directory, checkout):
        if guise.prefix and shutil.which(guise.prefix[0]) is None:
            continue
        _give(directory, guise.owner or 0)
        if _works(guise, directory, binary):
            return guise
    raise StackError(REFUSED)


def _for_person(directory: Path, binary: Path) -> Guise:
    if _has_name(os.geteuid()):
        return Guise()
    if shutil.which(UNSHARE[0]) and _works(Guise(prefix=UNSHARE), directory, binary):
        return Guise(prefix=UNSHARE)
    raise StackError(NAMELESS.format(uid=os.geteuid()))


def _has_name(uid: int) -> bool:
    try:
        return bool(pwd.getpwuid(uid))
    except KeyError:
        return False


def _candidates(directory: Path, checkout: Path) -> list[Guise]:
    people = dict.fromkeys(path.stat().st_uid for path in (directory, checkout))
    owners = [
        Guise(uid=uid, gid=uid, owner=uid) for uid in people if uid not in (0, NOBODY) and _has_name(uid)
    ]
    nobody = [Guise(uid=NOBODY, gid=NOBODY, owner=NOBODY), Guise(prefix=SETPRIV, owner=NOBODY)]
    return [*owners, Guise(prefix=UNSHARE), *nobody]


def _works(guise: Guise, directory: Path, binary: Path) -> bool:
    try:
        return guise.run(["sh", "-c", '"$0" --version && test -w "$1"', binary, directory]).returncode == 0
    except OSError:
        return False


def _give(directory: Path, owner: int) -> None:
    """Hand the directory and all in it to `owner`; the parent lets others pass, not look."""
    if owner and not directory.parent.stat().st_mode & 0o001:
        directory.parent.chmod(0o711)
    if directory.stat().st_uid == owner:
        return
    for path in (directory, *directory.rglob("*")):
        os.chown(path, owner, owner, follow_symlinks=False)
