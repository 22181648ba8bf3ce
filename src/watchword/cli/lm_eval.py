"""``watchword lab lm-eval``: lm-eval's own command on a release or a plain model, with lm-eval's own options."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from traceback import walk_tb

# lm-eval's options that say what this command says itself.
_OURS = ("--model", "--include_path")


def run_lm_eval(arguments: Sequence[str]) -> None:
    """Runs ``lm-eval run`` with these arguments on the model ``watchword``, our own tasks being known.

    Raises UsageError where lm-eval is missing or refuses the arguments, or where these name another model.
    """
    from watchword.errors import UsageError
    from watchword.lab.lm_eval import TASKS

    for argument in arguments:
        if argument.partition("=")[0] in _OURS or argument.startswith("-M"):
            raise UsageError(f"{argument} is said by this command itself; leave it out, or call lm-eval's own command")
    try:
        from lm_eval.__main__ import cli_evaluate

        # Makes the model known.
        import watchword.lab.lm_eval.model  # noqa: F401
    except ModuleNotFoundError as error:
        raise UsageError(f"{error.name} is missing; install it with `pip install 'watchword[train,lm-eval]'`") from None
    own = ["lm-eval", "run", "--model", "watchword", "--include_path", str(TASKS)]
    # It takes its arguments from nowhere else.
    before, sys.argv = sys.argv, [*own, *arguments]
    try:
        cli_evaluate()
    except ValueError as error:
        if not _of_its_configuration(error):
            raise
        raise UsageError(f"lm-eval: {error}") from error
    finally:
        sys.argv = before


def _of_its_configuration(error: ValueError) -> bool:
    """Whether lm-eval refused its arguments; whatever else goes wrong in it is no wrong call."""
    last = list(walk_tb(error.__traceback__))[-1][0]
    return str(last.f_globals.get("__name__")).startswith("lm_eval.config")
