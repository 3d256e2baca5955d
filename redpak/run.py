"""The only door to other programs: a list (never a shell), a clean environment, a timeout, the codes you expect.

Not for the sandboxed program itself: engines start that.
"""

from __future__ import annotations

from redpak import log
from redpak.errors import NotFound, RedpakError
from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Output(Record):
    """What a program said."""

    code: int
    out: bytes
    err: bytes

    @property
    def text(self) -> str:
        """Standard output as text, undecodable bytes replaced."""
        return self.out.decode(errors="replace")


def tool(
    argv: Sequence[str],
    *,
    timeout_s: float,
    ok: tuple[int, ...] = (0,),
    hint: str = "",
    stdin: bytes = b"",
    environ: Mapping[str, str] | None = None,
    cwd: str = "/",
) -> Output:
    """Run a program to its end and return what it said.

    It sees only PATH, LANG and `environ`, and standard input `stdin`. Raises NotFound when it is not installed,
    RedpakError when it exits with a code that is not in `ok` or runs longer than `timeout_s` seconds (it is killed).
    """
    import subprocess

    log.debug("run " + " ".join(argv))
    env = {"PATH": PATH, "LANG": "C.UTF-8", **(environ or {})}
    try:
        done = subprocess.run(
            list(argv), input=stdin, capture_output=True, timeout=timeout_s, env=env, cwd=cwd, check=False
        )
    except FileNotFoundError:
        raise NotFound(f"program '{argv[0]}' is not installed", hint=hint) from None
    except subprocess.TimeoutExpired:
        raise RedpakError(f"'{argv[0]}' ran longer than {timeout_s:g} s and was killed", hint=hint) from None
    except OSError as error:
        raise RedpakError(
            f"cannot run '{argv[0]}': {(error.strerror or str(error)).lower()}", hint=hint
        ) from error
    if done.returncode not in ok:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        last = f": {said[-1]}" if said else ""
        raise RedpakError(f"'{argv[0]}' failed with code {done.returncode}{last}", hint=hint)
    return Output(code=done.returncode, out=done.stdout, err=done.stderr)
