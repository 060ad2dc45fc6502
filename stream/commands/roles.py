"""What an activation says next, of what the last one said: a model's versions given roles and taken from them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from stream.errors import ConfigurationError
from stream.records import ENGINE_VERSION, Activation, ContentId
from stream.versions import ACTIVE, CANARY, MAX_PREVIOUS, PREVIOUS, SHADOW, ModelVersion


def version_in(activation: Activation, name: str, role: str) -> str | None:
    """Return the sha256 of the version that has a role in an activation, None where none has."""
    if role == ACTIVE:
        models = (content for content in activation.contents if content.kind == "model")
        return next((content.sha256 for content in models if content.name == name), None)
    return next((one.sha256 for one in activation.versions if (one.name, one.role) == (name, role)), None)


def tried(before: Activation, version: ModelVersion) -> Activation:
    """Return the activation that has a version on trial beside what is active, in the place of its role's last one.

    Raises ConfigurationError where it is active already, or a canary of a model that is not active.
    """
    active = version_in(before, version.name, ACTIVE)
    if active == version.sha256:
        message = f"version {version.sha256[:12]} of model {version.name!r} is active already"
        raise ConfigurationError(message)
    if active is None and version.role == CANARY:
        message = (
            f"model {version.name!r} is not active, so that a canary has no version in whose place it scores: "
            f"`groundswell model activate {version.name}` activates one, `model shadow` measures one before"
        )
        raise ConfigurationError(message)
    kept = [
        one
        for one in before.versions
        if one.name != version.name
        or (one.role != version.role and not (one.is_trial and one.sha256 == version.sha256))
    ]
    return _activation(before.contents, [*kept, version])


def promoted(before: Activation, name: str, sha256: str, now_ms: int) -> Activation:
    """Return the activation with a version active in the place of the one before, which is kept to go back to."""
    active = version_in(before, name, ACTIVE)
    if active == sha256:
        message = f"version {sha256[:12]} of model {name!r} is active already"
        raise ConfigurationError(message)
    contents = [content for content in before.contents if (content.kind, content.name) != ("model", name)]
    kept = [one for one in before.versions if one.name != name or (one.role != ACTIVE and one.sha256 != sha256)]
    if active is not None:
        kept = [one for one in kept if (one.name, one.role) != (name, PREVIOUS)]
        kept.append(ModelVersion(name, active, PREVIOUS, since_ms=now_ms))
    kept.append(ModelVersion(name, sha256, ACTIVE, since_ms=now_ms))
    return _activation([*contents, ContentId("model", name, sha256)], kept)


def trial_of(before: Activation, name: str) -> str:
    """Return the version to be promoted: the canary, else the shadow; ConfigurationError where there is neither."""
    found = version_in(before, name, CANARY) or version_in(before, name, SHADOW)
    if found is None:
        message = f"model {name!r} has neither canary nor shadow: say which version by --version"
        raise ConfigurationError(message)
    return found


def shadow_of(before: Activation, name: str) -> str:
    """Return the version that is the shadow; ConfigurationError where there is none."""
    found = version_in(before, name, SHADOW)
    if found is None:
        message = f"model {name!r} has no shadow: say which version by --version, or give a model file"
        raise ConfigurationError(message)
    return found


def rolled_back(before: Activation, name: str, now_ms: int) -> Activation:
    """Return the activation with the version active that was so before.

    Raises ConfigurationError where none is known, and while a canary stands, which would go on.
    """
    trial = version_in(before, name, CANARY)
    if trial is not None:
        message = (
            f"version {trial[:12]} of model {name!r} is a canary, which a rollback would leave in place: first "
            f"`groundswell model retire {name} --version {trial[:12]}`"
        )
        raise ConfigurationError(message)
    previous = version_in(before, name, PREVIOUS)
    if previous is None:
        message = f"no version of model {name!r} is known to have been active before: say one to `model activate`"
        raise ConfigurationError(message)
    return promoted(before, name, previous, now_ms)


def retired(before: Activation, name: str, sha256: str | None, now_ms: int) -> Activation:
    """Return the activation without a model, or without one version of it (``sha256``) on trial.

    What was active stays to go back to. Raises ConfigurationError where there is nothing to retire.
    """
    active = version_in(before, name, ACTIVE)
    if sha256 is not None and sha256 != active:
        kept = [one for one in before.versions if (one.name, one.sha256) != (name, sha256) or not one.is_trial]
        if len(kept) == len(before.versions):
            message = f"version {sha256[:12]} of model {name!r} is neither active nor on trial"
            raise ConfigurationError(message)
        return _activation(before.contents, kept)
    if active is None and not any(one.name == name and one.is_trial for one in before.versions):
        message = f"model {name!r} is neither active nor on trial"
        raise ConfigurationError(message)
    contents = [content for content in before.contents if (content.kind, content.name) != ("model", name)]
    kept = [one for one in before.versions if one.name != name]
    if active is None:
        kept += [one for one in before.versions if (one.name, one.role) == (name, PREVIOUS)]
    else:
        kept.append(ModelVersion(name, active, PREVIOUS, since_ms=now_ms))
    return _activation(contents, kept)


def applied(before: Activation, contents: Sequence[ContentId], now_ms: int, *, keep_trials: bool = True) -> Activation:
    """Return the activation of these contents and no others.

    Models' versions that change, or go, are kept to go back to. Trials of the models that stay go on, unless the
    trial's version is the active one now, or ``keep_trials`` is False.
    """
    models = {content.name: content.sha256 for content in contents if content.kind == "model"}
    versions: list[ModelVersion] = []
    for one in before.versions:
        stays = one.name in models and models[one.name] != one.sha256
        if one.is_trial and stays and keep_trials:
            versions.append(one)
    for name, sha256 in models.items():
        active = version_in(before, name, ACTIVE)
        if active == sha256:
            versions += [one for one in before.versions if one.name == name and one.role in {ACTIVE, PREVIOUS}]
            continue
        previous = active or version_in(before, name, PREVIOUS)
        if previous is not None and previous != sha256:
            versions.append(ModelVersion(name, previous, PREVIOUS, since_ms=now_ms))
        versions.append(ModelVersion(name, sha256, ACTIVE, since_ms=now_ms))
    dropped = [item for item in before.contents if item.kind == "model" and item.name not in models]
    versions += [ModelVersion(item.name, item.sha256, PREVIOUS, since_ms=now_ms) for item in dropped]
    gone = {*models, *(item.name for item in dropped)}
    versions += [one for one in before.versions if one.role == PREVIOUS and one.name not in gone]
    return _activation(contents, versions)


def _activation(contents: Iterable[ContentId], versions: Sequence[ModelVersion]) -> Activation:
    """Return the activation; of versions to go back to, the newest for which there is room."""
    previous = sorted((one for one in versions if one.role == PREVIOUS), key=lambda one: (one.since_ms, one.name))
    versions = [one for one in versions if one.role != PREVIOUS] + previous[-MAX_PREVIOUS:]
    return Activation(ENGINE_VERSION, tuple(sorted(contents)), tuple(sorted(versions)))
