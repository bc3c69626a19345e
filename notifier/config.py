"""The config file and the environment, read into settings; every problem is told at once."""

import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from stat import S_ISDIR
from typing import Any, NamedTuple

from pydantic import ValidationError

from notifier.environment import from_environment, interpolated, override
from notifier.problem import ConfigError, Problem, Where, in_words, os_words, spell
from notifier.settings import Settings
from notifier.transport import tls_context

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
    environment = {name: value for name, value in environment.items() if value or name == "NOTIFIER_LISTEN"}
    file = _find(path, environment)
    problems: list[Problem] = []
    unknown: set[Where] = set()
    names: dict[Where, str] = {}
    if file is not None:
        origin = str(file)
        data = interpolated(_read_toml(file), (), environment, problems, unknown)
    else:
        origin = "the environment"
        data, names = from_environment(environment, problems)
    override(data, names, environment)
    _fill_from_files(data, names, problems, unknown)
    _check_targets(data, problems, unknown)
    _check_sources(data, problems)
    settings = _validated(data, names, problems, unknown)
    if settings is not None:
        problems.extend(_unusable_files(settings))
    if settings is None or problems:
        raise ConfigError(origin, problems)
    return Config(settings, origin, list(_warnings(settings)))


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
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(str(file), [Problem("file", f"is not valid TOML: {error}")]) from error


_SECRET_KEYS = ("api_key", "url", "secret", "token")


def _fill_from_files(
    data: dict[str, Any], names: Mapping[Where, str], problems: list[Problem], unknown: set[Where]
) -> None:
    """Put the content of each `x_file` in the place of the secret key `x`."""
    for where, section in _sections(data):
        for key in _SECRET_KEYS:
            file = section.get(f"{key}_file")
            if not isinstance(file, str) or (*where, f"{key}_file") in unknown:
                unknown.update([(*where, key)] if f"{key}_file" in section else [])
                continue
            label = names.get((*where, f"{key}_file"), spell((*where, f"{key}_file")))
            if key in section:
                problems.append(
                    Problem(label, f"is set beside {names.get((*where, key), key)}; keep one of them")
                )
                continue
            unknown.add((*where, key))
            try:
                content = Path(file).read_text(encoding="utf-8").strip()
            except OSError as error:
                problems.append(Problem(label, f"{_name_of(file)} cannot be read: {os_words(error)}"))
            except UnicodeDecodeError:
                problems.append(Problem(label, f"{file} is not UTF-8 text"))
            else:
                if content:
                    section[key] = content
                    unknown.discard((*where, key))
                else:
                    problems.append(Problem(label, f"{file} is empty"))


def _name_of(file: str) -> str:
    """Return the path for a message, unless it may be the secret itself, written where its file belongs.

    Unlike `Path.is_dir`, `os.path.isdir` never raises, whatever the text.
    """
    directory = Path(file).parent
    return file if directory != Path() and os.path.isdir(directory) else "the file it names"  # noqa: PTH112


def _sections(data: Mapping[str, Any]) -> Iterator[tuple[Where, dict[str, Any]]]:
    sources, targets = data.get("sources"), data.get("targets")
    for number, source in enumerate(sources if isinstance(sources, list) else []):
        if isinstance(source, dict):
            yield ("sources", number), source
    for name, target in (targets if isinstance(targets, dict) else {}).items():
        if isinstance(target, dict):
            yield ("targets", name), target
    if isinstance(data.get("web"), dict):
        yield ("web",), data["web"]


def _check_targets(data: Mapping[str, Any], problems: list[Problem], unknown: set[Where]) -> None:
    targets = data.get("targets")
    for name, target in (targets if isinstance(targets, dict) else {}).items():
        kind = target.get("type") if isinstance(target, dict) else None
        where: Where = ("targets", name, "type")
        if kind in ("slack", "apprise"):
            problems.append(Problem(spell(where), f'"{kind}" is not available yet; "webhook" is'))
            unknown.add(where[:2])
        elif isinstance(kind, str) and kind != "webhook" and where not in unknown:
            problems.append(Problem(spell(where), f'"{kind}" is no kind of target; use "webhook"'))
            unknown.add(where[:2])


def _check_sources(data: Mapping[str, Any], problems: list[Problem]) -> None:
    sources = data.get("sources")
    seen: dict[str, int] = {}
    for number, source in enumerate(sources if isinstance(sources, list) else []):
        name = source.get("name", "allium") if isinstance(source, dict) else None
        if not isinstance(name, str):
            continue
        if name in seen:
            where = spell(("sources", number, "name"))
            problems.append(
                Problem(where, f'"{name}" is also the name of sources[{seen[name]}]; names are unique')
            )
        seen.setdefault(name, number)


def _validated(
    data: dict[str, Any], names: Mapping[Where, str], problems: list[Problem], unknown: set[Where]
) -> Settings | None:
    try:
        return Settings.model_validate(data)
    except ValidationError as error:
        for detail in error.errors(include_url=False, include_input=False):
            where = tuple(step for step in detail["loc"] if step != "[key]")
            if not any(_concerns(where, known) for known in unknown):
                problems.append(Problem(names.get(where, spell(where)), in_words(detail, where, names)))
        return None


def _concerns(where: Where, known: Where) -> bool:
    """Return whether an error is about an unknown value, or about the list that one stands in."""
    return where[: len(known)] == known or (where == known[:-1] and isinstance(known[-1], int))


def _unusable_files(settings: Settings) -> Iterator[Problem]:
    files = [(spell(("sources", n, "ca_file")), s.ca_file) for n, s in enumerate(settings.sources)]
    files += [(spell(("targets", n, "ca_file")), t.ca_file) for n, t in settings.targets.items()]
    for where, file in files:
        try:
            tls_context(file)
        except OSError as error:
            yield Problem(where, f"{file} cannot be used as certificates: {os_words(error)}")


def _warnings(settings: Settings) -> Iterator[str]:
    if not settings.targets:
        yield "there is no target: nobody would hear of any event"
    for source in settings.sources:
        if source.poll_every.total_seconds() < 1 or source.poll_idle_every.total_seconds() < 1:
            yield f"{source.name}: polls more often than once a second; the API asks for at most one a second"
    directory = settings.store.path.parent
    try:
        is_directory = S_ISDIR(directory.stat().st_mode)
    except FileNotFoundError:
        yield f"the directory of the state, {directory}, does not exist yet"
    except OSError as error:
        yield f"the directory of the state, {directory}, cannot be looked at: {os_words(error)}"
    else:
        if not is_directory:
            yield f"the directory of the state, {directory}, is no directory"
