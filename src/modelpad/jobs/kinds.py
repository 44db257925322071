"""The kinds of jobs, and the registry that maps their names to modules.

A kind is a module or package with a `KIND`; add new ones to `KINDS`. That module imports little:
what the work itself needs is imported in the process that runs it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from modelpad.errors import InvalidInput, NotFound, Unsupported, suggest_name

if TYPE_CHECKING:
    from modelpad.foreign_json import Json
    from modelpad.jobs.settings import WorkSettings
    from modelpad.jobs.work import Work

Params = Mapping[str, "Json"]

KINDS: dict[str, str] = {"train": "modelpad.recipes.job", "video": "modelpad.video.job"}


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of work.

    `check` gives the parameters that a client may send as they are stored, or raises
    `InvalidInput`. `run` is `module:function`: it does the work, reports to the `Work` that it is
    given, and returns the result as JSON. An attempt that ended in the middle is followed by
    another one in the same folder if the kind `resumes`; else the job is lost. An attempt may take
    `time_limit_s`. `package` is what it cannot do without, and `extra` what installs that.
    """

    name: str
    summary: str
    check: Callable[[Params, WorkSettings], Params]
    run: str
    resumes: bool = True
    time_limit_s: float = 4 * 3600.0
    package: str = ""
    extra: str = ""

    @property
    def is_installed(self) -> bool:
        """Whether its package is there; it is not imported."""
        return not self.package or find_spec(self.package) is not None

    def require_package(self) -> None:
        """Raises `Unsupported` if its package is not installed."""
        if not self.is_installed:
            raise Unsupported(
                f"This server runs no jobs of the kind {self.name}: {self.package} is not"
                " installed.",
                hint=f"Install it with: pip install 'modelpad[{self.extra}]'",
            )

    def load_run(self) -> Callable[[Work], Params]:
        """The function that does the work; this imports what it needs."""
        module, _, name = self.run.partition(":")
        function: Callable[[Work], Params] = getattr(import_module(module), name)
        return function


def invalid(field: str, expected: str, got: str) -> InvalidInput:
    """The error for a parameter of a job; to be raised by the caller."""
    return InvalidInput(
        f"{field!r} is not valid: {got}.",
        hint=f"Send {expected}.",
        field=field,
        expected=expected,
        got=got,
    )


def load_kind(name: str) -> Kind:
    """The kind of that name. Raises `NotFound` if there is none."""
    if name not in KINDS:
        raise NotFound(
            f"There is no kind of job {name[:40]!r}.",
            hint=suggest_name(name, KINDS, kind="kind"),
            known=sorted(KINDS),
        )
    kind: Kind = import_module(KINDS[name]).KIND
    return kind
