"""What can go wrong, and whose mistake it is.

    LeavenError
    ├── UserError       the request, a recipe, an input or the machine is at fault: message, no traceback, exit 2
    │   └── DriftError  something built under this name@version came from another recipe
    └── AnswerIsNo      it ran, and the answer is no (a check failed, too many records failed): exit 1

Anything else that escapes is our bug and shows its traceback.
"""

from __future__ import annotations

import re
from pathlib import Path


class LeavenError(Exception):
    """Root of every error that Leaven raises on purpose."""

    exit_code = 2


class UserError(LeavenError):
    """A mistake that a person can mend.

    `what` says what is wrong with the value, `where` names the file and key (and line), `numbers` are lines of
    figures that explain it, `do` is what to do next, a command that works when pasted where there is one.
    """

    def __init__(self, what: str, *, where: str | None = None, numbers: list[str] | None = None, do: str | None = None):
        self.what, self.where, self.numbers, self.do = what, where, numbers or [], do
        super().__init__(what)

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  in    {self.where}")
        lines += [f"        {line}" for line in self.numbers]
        if self.do:
            lines.append(f"  next  {self.do}")
        return "\n".join(lines)


class DriftError(UserError):
    """A built output and today's recipe differ; nothing was touched."""


class AnswerIsNo(UserError):
    """The work ran to its end and the answer is no."""

    exit_code = 1


def key_line(path: str | Path | None, key: str, table: str | None = None, nth: int = 0) -> str:
    """`file:line (key)` of the line of a TOML recipe where `key` stands, or `file (key)` where it cannot be found.

    With `table` the key is looked for under the nth `[table]` or `[[table]]`, or inside `table = { ... }`; without, at
    the top, among the headers, then anywhere.
    """
    label = f"{table}.{key}" if table else key
    if path is None:
        return f"recipe ({label})"
    try:
        lines = Path(path).read_text("utf-8").splitlines()
    except (OSError, UnicodeError):
        return f"{path} ({label})"
    here: str | None = None
    seen = -1
    elsewhere: int | None = None
    for number, line in enumerate(lines, 1):
        bare = line.strip()
        if bare.startswith("["):
            here = bare.split("#")[0].strip(" []\t")
            seen += here == table
            if table is None and here == key:
                return f"{path}:{number} ({label})"
            continue
        name = re.split(r"[\s=]", bare, maxsplit=1)[0].strip("\"'")
        inside = here == table and (table is None or seen == nth)
        held = here is None and name == table and re.search(rf"\b{re.escape(key)}\b", bare)
        if (inside and name == key) or held:
            return f"{path}:{number} ({label})"
        if table is None and elsewhere is None and name == key:
            elsewhere = number
    return f"{path}:{elsewhere} ({label})" if elsewhere else f"{path} ({label})"
