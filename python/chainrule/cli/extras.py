"""Whether the packages of the extra `cli` are installed."""

from __future__ import annotations

import importlib.util
import sys

from chainrule.cli.errors import CommandError

# Import name -> name in the package index.
PACKAGES = {
    "jinja2": "jinja2",
    "matplotlib": "matplotlib",
    "PIL": "pillow",
    "rich": "rich",
    "safetensors": "safetensors",
    "tomli_w": "tomli-w",
}
if sys.version_info < (3, 11):
    PACKAGES["tomli"] = "tomli"


def require_extras() -> None:
    """Fail before any work is done. Errors: CommandError naming the missing packages."""
    missing = [package for name, package in PACKAGES.items() if importlib.util.find_spec(name) is None]
    if missing:
        raise CommandError(
            f"missing {', '.join(missing)}: install what the commands need with pip install 'chainrule[cli]'"
        )
