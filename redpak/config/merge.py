"""From what the files of a family say to what they say together, under one of the two profiles."""

from __future__ import annotations

from redpak.config.model import SEALED, UPSTREAM
from redpak.errors import BadConfig, Fault, Usage
from redpak.origin import COMMAND_LINE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from redpak.config.model import Context, Family, Merged, Node, NodeDoc, Profile, Value
    from redpak.text import Asked

PROFILES: tuple[Profile, ...] = (SEALED, UPSTREAM)


def profile_of(family: Family, environ: Mapping[str, str]) -> Profile:
    """Return the profile that a family is merged under.

    The caller's REDPAK_PROFILE decides; else the oldest node, else the core OS's defaults, else it is sealed.
    A descendant may ask for sealed, the stricter one; asking for upstream-2.5 against its ancestors raises
    BadConfig. Raises Usage for an unknown REDPAK_PROFILE.
    """
    asked = environ.get("REDPAK_PROFILE", "")
    if asked:
        return profile_named(asked)
    said = [(node, _said(node, admin=family.admin)) for node in family.nodes]
    first = said[0][1] or (family.defaults.tags.get("profile") if family.defaults else None)
    chosen = _meant(first)
    faults = []
    for node, value in said[1:]:
        if value is None or _meant(value) == chosen:
            continue
        if _meant(value) == SEALED:
            chosen = SEALED
            continue
        message = f"node '{node.alias}' cannot choose profile '{value.value}' by itself: it is looser"
        if first is None:
            hint = "Choose it in the oldest node, or set REDPAK_PROFILE."
        else:
            hint = f"'{chosen}' is chosen at {first.origin}."
        faults.append(Fault(origin=value.origin, message=message, hint=hint))
    if faults:
        raise BadConfig(faults)
    return chosen


def profile_named(name: str) -> Profile:
    """Return the profile of that name. Raises Usage."""
    for profile in PROFILES:
        if profile == name:
            return profile
    raise Usage(f"unknown profile '{name}'", hint=f"Set REDPAK_PROFILE to {' or '.join(PROFILES)}.")


def _said(node: Node, *, admin: bool) -> Value | None:
    if admin and node.admin is not None and "profile" in node.admin.tags:
        return node.admin.tags["profile"]
    return node.normal.tags.get("profile")


def _meant(value: Value | None) -> Profile:
    return UPSTREAM if value is not None and value.value == UPSTREAM else SEALED


def merge(
    family: Family,
    profile: Profile,
    context: Context,
    *,
    overrides: Mapping[str, str] | None = None,
    run: Callable[[str], str] | None = None,
    ask: Callable[[Asked], str] | None = None,
) -> Merged:
    """Merge a family. Raises BadConfig with every fault, or RedpakError where upstream-2.5 aborts.

    `overrides` are plain tags given on the command line (set-user, set-group, smack): they replace what any
    file says. `run` and `ask` evaluate commands and PID, UUID, TODAY at once, as upstream-2.5 does; without
    them those stay parts of the texts. The sealed profile evaluates nothing while merging and ignores them.
    """
    if overrides:
        family = overridden(family, overrides)
    if profile == UPSTREAM:
        from redpak.config import upstream

        return upstream.merge(family, context, run=run, ask=ask)
    from redpak.config import sealed

    return sealed.merge(family, context)


def overridden(family: Family, overrides: Mapping[str, str]) -> Family:
    """Return the family as if only the command line had set the tags in `overrides`, for the leaf."""
    from redpak.config.model import Value

    def without(doc: NodeDoc) -> NodeDoc:
        return doc.but(tags={key: value for key, value in doc.tags.items() if key not in overrides})

    nodes = [
        node.but(normal=without(node.normal), admin=without(node.admin) if node.admin else None)
        for node in family.nodes
    ]
    said = {key: Value(value=value, origin=COMMAND_LINE) for key, value in overrides.items()}
    leaf = nodes[-1]
    nodes[-1] = leaf.but(normal=leaf.normal.but(tags={**leaf.normal.tags, **said}))
    defaults = without(family.defaults) if family.defaults else None
    return family.but(nodes=tuple(nodes), defaults=defaults)
