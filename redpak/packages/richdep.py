"""Rich dependencies as formulas: '(a or (b >= 2 with c))'. Parsed here, judged by whoever knows what is there."""

from __future__ import annotations

from redpak.errors import RedpakError
from redpak.packages.facts import EQUAL, GREATER, LESS
from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from redpak.packages.facts import Dep

    Found = Callable[[Dep], set[int]]
    Formula: TypeAlias = "Dep | Rich"

SIGNS = {"<": LESS, "<=": LESS | EQUAL, "=": EQUAL, "==": EQUAL, ">=": GREATER | EQUAL, ">": GREATER}
OPERATORS = ("and", "or", "if", "unless", "with", "without")
CONDITIONS = ("if", "unless")


class Rich(Record):
    """Operands beneath an operator; 'if' and 'unless' have two, or three with the 'else'."""

    operator: str
    operands: tuple[Formula, ...]


def is_rich(name: str) -> bool:
    """Tell whether a dependency's name is a formula."""
    return name.startswith("(")


def parse(text: str) -> Formula:
    """Return the formula that `text` writes. Raises RedpakError when it is none (rpm.org: boolean dependencies)."""
    formula, rest = _group(text, text)
    if rest.strip():
        raise _wrong(text)
    return formula


def _group(rest: str, text: str) -> tuple[Formula, str]:
    """Take '( operand [operator operand]… )' off the front."""
    if not rest.startswith("("):
        raise _wrong(text)
    operand, rest = _operand(rest[1:].lstrip(), text)
    operands, operator = [operand], ""
    while not rest.startswith(")"):
        word, _, rest = rest.partition(" ")
        if word == "else" and operator in CONDITIONS and len(operands) == 2:
            pass
        elif word not in OPERATORS or (operator and word != operator) or word == operator in CONDITIONS:
            raise _wrong(text)
        else:
            operator = word
        operand, rest = _operand(rest.lstrip(), text)
        operands.append(operand)
    formula = Rich(operator=operator, operands=tuple(operands)) if operator else operands[0]
    return formula, rest[1:].lstrip()


def _operand(rest: str, text: str) -> tuple[Formula, str]:
    """Take one formula or plain dependency off the front."""
    if rest.startswith("("):
        return _group(rest, text)
    name, rest = _word(rest, text)
    sign, _, after = rest.partition(" ")
    if sign in SIGNS:
        evr, rest = _word(after.lstrip(), text)
        return (name, SIGNS[sign], evr), rest
    return (name, 0, ""), rest


def _word(rest: str, text: str) -> tuple[str, str]:
    """Take a word off the front: up to a space, or the ')' that closes the group; its own parentheses are pairs."""
    depth = 0
    length = 0
    while length < len(rest):
        sign = rest[length]
        if sign == " " or (sign == ")" and not depth):
            break
        depth += {"(": 1, ")": -1}.get(sign, 0)
        length += 1
    if not length or length == len(rest):
        raise _wrong(text)
    return rest[:length], rest[length:].lstrip()


def _wrong(text: str) -> RedpakError:
    return RedpakError(f"'{text}' is no dependency", hint="Rebuild the package: rpm would not have made it.")


def holds(formula: Formula, found: Found) -> bool:
    """Tell whether a formula is true; `found` returns the packages that meet a plain dependency."""
    if not isinstance(formula, Rich):
        return bool(found(formula))
    operands = formula.operands
    match formula.operator:
        case "and":
            return all(holds(one, found) for one in operands)
        case "or":
            return any(holds(one, found) for one in operands)
        case "if":
            then, condition, *other = operands
            if holds(condition, found):
                return holds(then, found)
            return all(holds(one, found) for one in other)
        case "unless":
            then, condition, *other = operands
            if holds(condition, found):
                return any(holds(one, found) for one in other)
            return holds(then, found)
        case _:
            return bool(meeting(formula, found))


def meeting(formula: Formula, found: Found) -> set[int]:
    """Return the packages each of which meets a formula of 'with', 'without' and 'or'."""
    if not isinstance(formula, Rich):
        return found(formula)
    first, *others = (meeting(one, found) for one in formula.operands)
    for other in others:
        match formula.operator:
            case "with":
                first = first & other
            case "without":
                first = first - other
            case _:
                first = first | other
    return first


def leaves(formula: Formula) -> list[Dep]:
    """Return the plain dependencies of a formula."""
    if not isinstance(formula, Rich):
        return [formula]
    return [leaf for one in formula.operands for leaf in leaves(one)]
