"""The models, campaigns and taxonomy in a directory, read and proven together before anything is told about them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stream.activation import build, place
from stream.commands.reading import ReadContents
from stream.errors import ConfigurationError
from stream.features import FEATURES, taxonomy_of
from stream.interfaces import Library
from stream.records import CONTENT_KINDS, ENGINE_VERSION, Activation, ContentId
from stream.scoring import read_model
from stream.strictness import at_line
from stream.triggers import Campaign, read_campaign

DIRECTORIES: Final = {"model": ("models", ".json"), "campaign": ("campaigns", ".toml")}
"""By kind of content, the directory that holds its files, and their suffix."""
TAXONOMY: Final = "taxonomy.toml"
"""The one file that may stand beside these directories; its content goes by its name."""
BESIDE: Final[Mapping[str, tuple[str, ...]]] = {"model": (".toml", ".card"), "campaign": ()}
"""By kind of content, the suffixes of what may lie beside its files: recipes that models are trained by, and cards."""


@dataclass(frozen=True, slots=True)
class Content:
    """One file."""

    identity: ContentId
    data: bytes
    """The file's bytes: what is hashed, and what goes to the configuration topic."""
    file: Path


def read_contents(directory: Path) -> list[Content]:
    """Return the contents of ``models/*.json``, ``campaigns/*.toml`` and ``taxonomy.toml``, by kind and name.

    Recipes are passed over. A directory without a taxonomy has none active.

    Raises ConfigurationError that names every file that is unusable, and what is wrong with it.
    """
    problems: list[str] = []
    contents: list[Content] = []
    for kind, (folder, suffix) in DIRECTORIES.items():
        place_of = directory / folder
        if not place_of.is_dir():
            problems.append(f"{place_of}: no such directory, expected one of {kind}s")
            continue
        for file in sorted(path for path in place_of.iterdir() if not path.name.startswith(".")):
            if file.suffix in BESIDE[kind]:
                continue
            try:
                contents.append(_read(kind, file, suffix))
            except ConfigurationError as error:
                problems.append(f"{file}: {error}")
    if (directory / TAXONOMY).exists():
        try:
            contents.append(_read("taxonomy", directory / TAXONOMY, ".toml"))
        except ConfigurationError as error:
            problems.append(f"{directory / TAXONOMY}: {error}")
    problems += _doubled(contents)
    if not problems:
        problems += _lost_models(contents)
    if problems:
        raise ConfigurationError("\n".join(problems))
    contents.sort(key=lambda content: content.identity)
    in_hand = {content.identity: content.data for content in contents}
    prove(Activation(ENGINE_VERSION, tuple(in_hand)), ReadContents(in_hand))
    return contents


def read_content(kind: str, file: Path) -> Content:
    """Return one file, a model's or a campaign's; raise ConfigurationError, naming it, where it is unusable."""
    try:
        return _read(kind, file, DIRECTORIES[kind][1])
    except ConfigurationError as error:
        message = f"{file}: {error}"
        raise ConfigurationError(message) from error


def _read(kind: str, file: Path, suffix: str) -> Content:
    if file.suffix != suffix or not file.is_file():
        message = f"not a {kind} file, expected *{suffix} and nothing else in this directory"
        raise ConfigurationError(message)
    try:
        data = file.read_bytes()
    except OSError as error:
        message = f"cannot be read: {error}"
        raise ConfigurationError(message) from error
    if kind == "taxonomy":
        taxonomy_of(data)
        name = file.stem
    else:
        name = (read_model(data, FEATURES) if kind == "model" else read_campaign(data)).name
    return Content(ContentId(kind, name, hashlib.sha256(data).hexdigest()), data, file)


def _doubled(contents: Iterable[Content]) -> list[str]:
    seen: dict[tuple[str, str], Path] = {}
    problems = []
    for content in contents:
        key = (content.identity.kind, content.identity.name)
        if key in seen:
            problems.append(f"{content.file}: name is {key[1]!r}, which {seen[key]} has too")
        seen.setdefault(key, content.file)
    return problems


def _lost_models(contents: Sequence[Content]) -> list[str]:
    models = {content.identity.name for content in contents if content.identity.kind == "model"}
    campaigns: list[tuple[Content, Campaign]] = [
        (content, read_campaign(content.data)) for content in contents if content.identity.kind == "campaign"
    ]
    known = ", ".join(sorted(models)) or "no models"
    lost = [(content, campaign.model) for content, campaign in campaigns if campaign.model not in models]
    errors = (ConfigurationError(f"model is {model!r}, expected one of {known}") for _, model in lost)
    return [f"{content.file}: {at_line(content.data, error)}" for (content, _), error in zip(lost, errors, strict=True)]


def prove(activation: Activation, library: Library) -> None:
    """Compile an activation as a worker would; raise ConfigurationError where a worker would reject it."""
    slots = {
        kind: place([], [item for item in activation.contents if item.kind == kind], kind) for kind in CONTENT_KINDS
    }
    build(slots, library, activation.versions)
