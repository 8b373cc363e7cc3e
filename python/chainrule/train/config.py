"""How files hold the settings of a run: TOML that a user writes, and the values that a checkpoint keeps."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import tomli_w

from chainrule.train.errors import SettingsError
from chainrule.train.kinds import shown
from chainrule.train.settings import RunOptions, TrainSettings, hyphened

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def settings_from_file_values(values: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Settings and options by field name, from a file's names and values.

    Names may be written as the flags are (batch-size) or with underscores. Errors: SettingsError naming the
    source and the name that is unknown or whose value is of the wrong type.
    """
    known = {f.name: f.metadata["kind"] for cls in (TrainSettings, RunOptions) for f in fields(cls)}
    read: dict[str, Any] = {}
    for written_name, value in values.items():
        name = written_name.replace("-", "_")
        if name not in known:
            near = difflib.get_close_matches(hyphened(name), map(hyphened, known), 1)
            hint = f"did you mean {near[0]}?" if near else "chainrule train --help lists the names"
            raise SettingsError(f"{source}: unknown name {shown(written_name)}: {hint}")
        if name in read:
            raise SettingsError(f"{source}: {written_name!r} is given twice: give it once")
        try:
            read[name] = known[name].read(written_name, value)
        except SettingsError as error:
            raise SettingsError(f"{source}: {error}") from None
    return read


def settings_to_file_values(settings: TrainSettings) -> dict[str, Any]:
    """The settings by their names in a file; None is left out. `settings_from_file_values` undoes it."""
    values = {}
    for f in fields(settings):
        value = f.metadata["kind"].to_file(getattr(settings, f.name))
        if value is not None:
            values[hyphened(f.name)] = value
    return values


def read_config(path: str) -> dict[str, Any]:
    """Settings and options by field name, from a TOML file.

    Errors: SettingsError naming the file and what is wrong in it.
    """
    try:
        content = Path(path).read_text(encoding="utf-8")
        values = tomllib.loads(content)
    except OSError as error:
        raise SettingsError(f"config: {path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"config: {path}: not UTF-8 text: give a TOML file") from None
    except RecursionError:
        raise SettingsError(f"config: {path}: no valid TOML: it is nested too deeply") from None
    except ValueError as error:  # TOMLDecodeError, and integers of too many digits
        raise SettingsError(f"config: {path}: no valid TOML: {error}") from None
    return settings_from_file_values(values, f"config: {path}")


def to_toml(settings: TrainSettings) -> str:
    """The settings as a TOML file that --config takes."""
    return tomli_w.dumps(settings_to_file_values(settings))


def with_absolute_paths(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with the paths of data made absolute, so that a run can be used from another folder."""
    resolved = dict(values)
    for name in ("data", "root"):
        value = resolved.get(name)
        if value is None or (name == "data" and not value.endswith(".npz")):
            continue
        resolved[name] = path = os.path.abspath(value)
        try:
            path.encode()
        except UnicodeEncodeError:
            raise SettingsError(
                f"{name}: {os.fsencode(path).decode(errors='replace')}: the path is no UTF-8 text, which the run's "
                "files hold: rename the folder or the file"
            ) from None
    return resolved
