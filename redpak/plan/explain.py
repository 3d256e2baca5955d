"""Why is this so? One thing of a plan: what it is, who asked for it, who else asked and lost, who seals it."""

from __future__ import annotations

from os.path import normpath

from redpak.errors import NotFound, Usage
from redpak.origin import DEFAULT
from redpak.plan import words
from redpak.plan.answer import Explanation, Fact
from redpak.plan.model import CHOICES, Choice, SetVar, UnsetVar
from redpak.plan.show import beneath, path_answer, shown_at
from redpak.plan.tidy import KINDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from redpak.plan.answer import Located
    from redpak.plan.model import Plan

    Known = Mapping[str, Collection[str]]

# How configuration files call a setting, where a plan has another word.
SETTING_NAMES = {
    "set-user": "user",
    "set-group": "group",
    "map-root-user": "map-root",
    "cgrouproot": "cgroup-root",
}
FEW = 20  # names that a hint may list


def explain(
    plan: Plan, thing: str, located: Located | None = None, *, known: Known | None = None
) -> Explanation:
    """Explain a path inside the sandbox, a variable, namespace, capability, limit or setting.

    `thing` may say its kind: 'variable:PATH', 'namespace:user'. `known` holds more names that can be asked
    about, by kind: capabilities and limits that the kernel has and nobody mentions. Raises NotFound, with what
    looks alike, and Usage when the name may mean several things.
    """
    kind, name = aim(plan, thing, known)
    match kind:
        case "path":
            told = path_answer(plan, name, located)
            ends = {name, shown_at(plan, name).path, located.real if located else name}
            return _contested(told, plan, "mount", lambda at: any(beneath(end, normpath(at)) for end in ends))
        case "variable":
            return _variable(plan, name)
        case "namespace":
            return _namespace(plan, name)
        case "capability":
            return _capability(plan, name)
        case "limit":
            return _limit(plan, name)
        case _:
            return _setting(plan, name)


def aim(plan: Plan, thing: str, more: Known | None = None) -> tuple[str, str]:
    """Return the kind of thing that is meant, and its name in the plan."""
    if not thing:
        raise Usage("the name of the thing is empty", hint="Run 'redpak explain --help'.")
    if thing.startswith("/"):
        return "path", normpath("/" + thing.lstrip("/"))
    if thing.startswith("$"):
        return "variable", thing[1:].removeprefix("{").removesuffix("}")
    known = _known(plan, more or {})
    kind, colon, rest = thing.partition(":")
    if colon and kind in ("path", "mount"):
        if not rest.startswith("/"):
            raise Usage(f"'{rest}' is no absolute path", hint="Write the path as the program sees it.")
        return aim(plan, rest)
    if colon and kind in known:
        if kind == "variable":
            return kind, rest
        name = _normal(kind, rest)
        if name in known[kind]:
            return kind, name
        hint = _alike(rest, known[kind])
        if not hint and len(known[kind]) <= FEW:
            hint = f"Choose one of {', '.join(sorted(known[kind]))}."
        raise NotFound(f"the plan has no {kind} '{rest}'", hint=hint)
    found = [(kind, _normal(kind, thing)) for kind, names in known.items() if _normal(kind, thing) in names]
    if len(found) == 1:
        return found[0]
    if found:
        kinds = " or a ".join(kind for kind, _ in found)
        written = " or ".join(f"'{kind}:{thing}'" for kind, _ in found)
        raise Usage(f"'{thing}' may be a {kinds}", hint=f"Write {written}.")
    every = [name for names in known.values() for name in names]
    hint = _alike(thing, every) or (
        f"Write '/{thing}' for a path, '${thing}' for a variable; 'redpak plan' lists everything."
    )
    raise NotFound(f"the plan has no '{thing}'", hint=hint)


def _known(plan: Plan, more: Known) -> dict[str, set[str]]:
    """Return the names of everything that can be asked about, by kind."""
    asked = [rival.thing.partition(" ") for rival in plan.rivals]
    return {
        "variable": {entry.key for entry in plan.environ} | {n for k, _, n in asked if k == "variable"},
        "namespace": set(KINDS),
        "capability": {capability.name for capability in plan.capabilities}
        | {_normal(k, name) for k, _, name in asked if k == "capability"}
        | set(more.get("capability", ())),
        "limit": {limit.key for limit in plan.limits}
        | {rlimit.name for rlimit in plan.rlimits}
        | {_normal(k, name) for k, _, name in asked if k in ("limit", "rlimit")}
        | set(more.get("limit", ())),
        "setting": {choice.name for choice in plan.choices} | set(CHOICES),
    }


def _normal(kind: str, name: str) -> str:
    """Return a name as the plan has it, however a configuration file or a person wrote it."""
    match kind:
        case "capability":
            upper = name.upper()
            return upper if upper == "ALL" or upper.startswith("CAP_") else f"CAP_{upper}"
        case "namespace":
            return name.lower().replace("-", "_").removeprefix("share_")
        case "limit" | "rlimit":
            group, dot, key = name.lower().removeprefix("rlimit_").partition(".")
            return f"{'memory' if group == 'mem' else group}{dot}{key.replace('_', '.')}"
        case "setting":
            low = name.lower()
            return SETTING_NAMES.get(low, low)
        case _:
            return name


def _alike(word: str, names: Iterable[str]) -> str:
    import difflib

    by_low = {name.lower(): name for name in names}
    close = difflib.get_close_matches(word.lower(), list(by_low), n=3, cutoff=0.6)
    return f"Did you mean {' or '.join(repr(by_low[name]) for name in close)}?" if close else ""


def _contested(told: Explanation, plan: Plan, kind: str, fits: Callable[[str], bool]) -> Explanation:
    """Add those who lost and those who seal, of a kind of thing and with a name that fits."""
    kinds = {"mount": ("mount", "export"), "limit": ("limit", "rlimit")}.get(kind, (kind,))
    about = []
    for rival in plan.rivals:
        word, _, name = rival.thing.partition(" ")
        if word in kinds and fits(_normal(kind, name)):
            about.append(rival)
    return told.but(
        lost=tuple(rival for rival in about if rival.kind == "lost"),
        seals=tuple(rival for rival in about if rival.kind == "seals"),
    )


def _variable(plan: Plan, name: str) -> Explanation:
    entry = next((entry for entry in plan.environ if entry.key == name), None)
    facts: list[Fact] = []
    because = entry.because if entry else None
    match entry:
        case UnsetVar():
            answer = "removed"
        case SetVar(inherited=True):
            answer = "the caller's value at start, empty where the caller has none"
        case SetVar(value=value):
            answer = words.will(value) if value.literal is None else f"'{value}'"
            if name.endswith(("PATH", "DIRS", "path")) and ":" in str(value):
                facts = _elements(plan, str(value))
        case None if plan.choice("inherit-env"):
            answer = "nobody sets it: the caller's value passes ('inherit-env')"
            because = _choice(plan, "inherit-env").because
        case None:
            answer = "not set: nobody asks for it, and the caller's environment is not passed on"
    told = Explanation(
        thing=f"variable {name}",
        answer=answer,
        because=because,
        facts=tuple(facts),
    )
    return _contested(told, plan, "variable", lambda other: other == name)


def _elements(plan: Plan, value: str) -> list[Fact]:
    """Say of each element of a path list what it is inside the sandbox."""
    facts = []
    for element in value.split(":"):
        if not element.startswith("/"):
            facts.append(Fact(label="element", value=f"'{element}': no absolute path"))
            continue
        found = path_answer(plan, normpath(element))
        facts.append(Fact(label="element", value=f"{element}: {found.answer}", because=found.because))
    return facts


def _choice(plan: Plan, name: str) -> Choice:
    for choice in plan.choices:
        if choice.name == name:
            return choice
    return Choice(name=name, value=CHOICES[name], because=DEFAULT)


def _namespace(plan: Plan, kind: str) -> Explanation:
    namespace = plan.namespace(kind)
    what = words.ISOLATES[kind]
    answers = {
        "new": f"its own: {what} are not the host's",
        "host": f"the host's: {what} are shared with the host",
        "join": f"the one at '{namespace.path}': {what} are shared with whoever is in it",
    }
    answer = answers[namespace.mode]
    if what.startswith("the ") and " and " not in what:
        answer = answer.replace(" are ", " is ", 1)
    scope = _choice(plan, "scope")
    facts: tuple[Fact, ...] = ()
    if kind == "net" and namespace.mode != "new" and scope.value:
        confined = "abstract sockets stay inside all the same (Landlock)"
        facts = (Fact(label="confined", value=confined, because=scope.because),)
    told = Explanation(
        thing=f"namespace {kind}",
        answer=answer,
        because=namespace.because,
        facts=facts,
    )
    return _contested(told, plan, "namespace", lambda other: other in (kind, "all"))


def _capability(plan: Plan, name: str) -> Explanation:
    kept = {capability.name: capability.because for capability in plan.capabilities}
    if name in kept:
        answer, because = "kept", kept[name]
    elif "ALL" in kept:
        answer, because = "kept: all capabilities are", kept["ALL"]
    else:
        answer, because = "dropped: nobody in the family keeps it", None
    told = Explanation(
        thing=f"capability {name}",
        answer=answer,
        because=because,
    )
    return _contested(told, plan, "capability", lambda other: other in (name, "ALL"))


def _limit(plan: Plan, name: str) -> Explanation:
    facts: list[Fact] = []
    answer, because = "not limited: nobody in the family limits it", None
    for rlimit in plan.rlimits:
        if rlimit.name == name:
            soft, hard = words.number_said(rlimit.soft), words.number_said(rlimit.hard)
            answer, because = (
                f"a resource limit of each process: {soft} (soft), {hard} (hard)",
                rlimit.because,
            )
    groups = [limit for limit in plan.limits if limit.key == name]
    if groups:
        because = groups[0].because
        answer = f"a control group limit: {groups[0].value} for '{groups[0].node}' and all beneath it"
        if len(groups) > 1:
            answer = (
                f"a control group limit of {len(groups)} nodes, one group in the other: the tightest binds"
            )
            facts = [Fact(label=limit.node, value=limit.value, because=limit.because) for limit in groups]
    told = Explanation(
        thing=f"limit {name}",
        answer=answer,
        because=because,
        facts=tuple(facts),
    )
    return _contested(told, plan, "limit", lambda other: other == name)


def _setting(plan: Plan, name: str) -> Explanation:
    told = Explanation(
        thing=f"setting {name}",
        answer=words.choice_said(_choice(plan, name)),
        because=_choice(plan, name).because,
        facts=(Fact(label="meaning", value=words.MEANINGS[name]),) if name in words.MEANINGS else (),
    )
    return _contested(told, plan, "setting", lambda other: other == name)
