"""The config file and the environment, read into settings; every problem is told at once."""

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from notifier.caution import cautions
from notifier.coherence import check_coherence
from notifier.environment import check_text, from_environment, interpolated, override
from notifier.problem import ConfigError, Problem, Where, in_words, os_words, spell
from notifier.settings import Settings, StoreSettings
from notifier.transport import tls_context
from notifier.twins import fill_from_files, tables_with_files

ENVIRONMENT = "the environment"
"""The origin of a config without a file."""
USUAL_PLACES = (Path("notifier.toml"), Path("/etc/notifier/notifier.toml"))


class Config(NamedTuple):
    """Settings that hold, where they came from, and what about them is odd without being wrong."""

    settings: Settings
    origin: str
    warnings: list[str]


def load_config(path: Path | None, environment: Mapping[str, str]) -> Config:
    """Return the config of a file, or without any of the environment alone (contract, section 5).

    The file is `path`, else `$NOTIFIER_CONFIG`, else the first of the usual places that exists.
    Raises ConfigError, which names every problem there is.
    """
    environment = _set(environment)
    file = _find(path, environment)
    problems: list[Problem] = []
    unknown: set[Where] = set()
    names: dict[Where, str] = {}
    if file is not None:
        origin = str(file)
        data = interpolated(_read_toml(file), (), environment, problems, unknown)
    else:
        origin = ENVIRONMENT
        data, names = from_environment(environment)
    override(data, names, environment)
    check_text(names, environment, problems, unknown)
    fill_from_files(data, names, problems, unknown)
    check_coherence(data, names, problems, unknown)
    settings = _validated(data, names, problems, unknown)
    problems.extend(_unusable_files(data, unknown))
    if settings is None or problems:
        raise ConfigError(origin, problems)
    return Config(settings, origin, list(cautions(settings)))


def find_config(path: Path | None, environment: Mapping[str, str]) -> str:
    """Return the absolute path of the file that `load_config` would read, or that it is the environment."""
    file = _find(path, _set(environment))
    return ENVIRONMENT if file is None else str(file.absolute())


def load_store(path: Path | None, environment: Mapping[str, str]) -> StoreSettings:
    """Return where the state is, of the config that `load_config` would read.

    A command that only looks needs no more, and its user often lacks the daemon's secrets.
    Raises ConfigError.
    """
    environment = _set(environment)
    file = _find(path, environment)
    problems: list[Problem] = []
    unknown: set[Where] = set()
    names: dict[Where, str] = {}
    data = {} if file is None else _read_toml(file)
    data = interpolated({"store": data.get("store", {})}, (), environment, problems, unknown)
    override(data, names, environment)
    check_text(names, environment, problems, unknown)
    try:
        settings = StoreSettings.model_validate(data["store"])
    except ValidationError as error:
        problems.extend(_problems(error, names, unknown, ("store",)))
        settings = None
    if settings is None or problems:
        raise ConfigError(ENVIRONMENT if file is None else str(file), problems)
    return settings


def read_names(path: Path | None, environment: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the names of the `targets` and `sources` as far as they can be read, for completion."""
    environment = _set(environment)
    file = _find(path, environment)
    try:
        data = from_environment(environment)[0] if file is None else _read_toml(file)
    except ConfigError:
        data = {}
    sources, targets = data.get("sources"), data.get("targets")
    return {
        "sources": [
            str(source.get("name", "allium"))
            for source in (sources if isinstance(sources, list) else ())
            if isinstance(source, dict)
        ],
        "targets": list(targets) if isinstance(targets, dict) else [],
    }


def _set(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if value or name == "NOTIFIER_LISTEN"}


def _find(path: Path | None, environment: Mapping[str, str]) -> Path | None:
    if path is not None:
        return path
    if named := environment.get("NOTIFIER_CONFIG"):
        return Path(named)
    return next((place for place in USUAL_PLACES if _is_there(place)), None)


def _is_there(place: Path) -> bool:
    try:
        place.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True  # reading it says why that is impossible; passing it over would say nothing
    return True


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(str(file), [Problem("file", f"cannot be read: {os_words(error)}")]) from error
    except UnicodeDecodeError as error:
        raise ConfigError(str(file), [Problem("file", "is not UTF-8 text")]) from error
    except RecursionError as error:
        raise ConfigError(str(file), [Problem("file", "has tables or lists nested too deeply")]) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(str(file), [Problem("file", f"is not valid TOML: {error}")]) from error


def _validated(
    data: dict[str, Any], names: Mapping[Where, str], problems: list[Problem], unknown: set[Where]
) -> Settings | None:
    try:
        return Settings.model_validate(data)
    except ValidationError as error:
        problems.extend(_problems(error, names, unknown))
        return None


def _problems(
    error: ValidationError, names: Mapping[Where, str], unknown: set[Where], within: Where = ()
) -> Iterator[Problem]:
    for detail in error.errors(include_url=False, include_input=False):
        where = (*within, *(step for step in detail["loc"] if step != "[key]"))
        kind = str(where[2]) if where[0] == "targets" and len(where) > 2 else ""
        if kind:
            where = (*where[:2], *where[3:])  # pydantic names the kind of target that it tried
        if not any(_concerns(where, known) for known in unknown):
            yield Problem(names.get(where, spell(where)), in_words(detail, where, names, kind))


def _concerns(where: Where, known: Where) -> bool:
    """Return whether an error is about an unknown value, or about the list that one stands in."""
    return where[: len(known)] == known or (where == known[:-1] and isinstance(known[-1], int))


def _unusable_files(data: Mapping[str, Any], unknown: set[Where]) -> Iterator[Problem]:
    for table_where, table in tables_with_files(data):
        file, where = table.get("ca_file"), (*table_where, "ca_file")
        if not isinstance(file, str) or any(_concerns(where, known) for known in unknown):
            continue
        try:
            tls_context(file)
        except OSError as error:
            yield Problem(spell(where), f"{file} cannot be used as certificates: {os_words(error)}")
