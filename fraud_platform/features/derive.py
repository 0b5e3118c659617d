"""The shared row step: formulas compiled to a list of instructions, run row by row.

Batch, Spark and online run the same compiled code on the same instructions, so what they derive from
equal columns and aggregates is equal to the last bit.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fraud_platform.errors import CatalogError
from fraud_platform.features.columns import text_code
from fraud_platform.features.compilation import compiled
from fraud_platform.features.expressions import Call, Column, Expression, Rolling, walk
from fraud_platform.features.fold import NULL
from fraud_platform.features.functions import FUNCTIONS, apply

MOST_ARGUMENTS = 4
_BLOCK_ROWS = 256
"""Rows worked on together: their registers fit the second-level cache."""


class Derivation:
    """Evaluates formulas; a part that several formulas share is computed once.

    Args:
        formulas: what to compute, in order.
        columns: the names of the columns that the formulas read, in the order of the matrix rows.
        rollings: the aggregates that they use, in the order of the matrix rows.

    Raises:
        CatalogError: for a function that does not exist, or one with too few or too many arguments.
    """

    def __init__(self, formulas: Sequence[Expression], columns: Sequence[str], rollings: Sequence[Rolling]) -> None:
        registers: dict[Expression | float | int | str, int] = {}
        for part in (*map(Column, columns), *rollings):
            registers[part] = len(registers)
        parts = list(dict.fromkeys(part for formula in formulas for part in walk(formula)))
        constants = {
            argument
            for part in parts
            if isinstance(part, Call)
            for argument in part.arguments
            if not isinstance(argument, (Call, Column, Rolling))
        }
        for constant in sorted(constants, key=repr):
            registers[constant] = len(registers)
        first_result = len(registers)
        instructions: list[list[int]] = []

        def register(part: Expression | float | str) -> int:
            if part not in registers:
                if not isinstance(part, Call):
                    raise CatalogError(f"{part} is not among the columns and aggregates that are given.")
                instructions.append(_instruction(part, [register(argument) for argument in part.arguments]))
                registers[part] = first_result + len(instructions) - 1
            return registers[part]

        self._outputs = np.array([register(formula) for formula in formulas], np.int64)
        self._instructions = np.array(instructions, np.int64).reshape(-1, 1 + MOST_ARGUMENTS)
        values = [text_code(c) if isinstance(c, str) else c for c in sorted(constants, key=repr)]
        self._constants = np.array(values, np.float64)

    def to_floats(self, columns: NDArray[np.float64], aggregates: NDArray[np.int64], out: NDArray[np.float32]) -> None:
        """The formulas' values as the model reads them.

        Args:
            columns: float64 (c, n), NaN for missing; aggregates: int64 (a, n), NULL for missing.
            out: float32 (n, len(formulas)), filled; NaN for missing.
        """
        _run(self._instructions, self._constants, columns, aggregates, self._outputs, out, _NO_INTEGERS)

    def to_integers(self, columns: NDArray[np.float64]) -> NDArray[np.int64]:
        """The values of formulas of columns alone, as a fold reads them: int64 (len(formulas), n), NULL for missing."""
        out = np.empty((self._outputs.size, columns.shape[1]), np.int64)
        none = np.empty((0, columns.shape[1]), np.int64)
        _run(self._instructions, self._constants, columns, none, self._outputs, _NO_FLOATS, out)
        return out


_NO_INTEGERS = np.empty((0, 0), np.int64)
_NO_FLOATS = np.empty((0, 0), np.float32)


def _instruction(call: Call, arguments: list[int]) -> list[int]:
    function = FUNCTIONS.get(call.function)
    if function is None:
        raise CatalogError(f"No function is called {call.function!r}. There are: {', '.join(sorted(FUNCTIONS))}.")
    if function.arity != len(arguments):
        raise CatalogError(f"{call.function} takes {function.arity} arguments, not {len(arguments)}.")
    return [function.code, *arguments, *[0] * (MOST_ARGUMENTS - len(arguments))]


@compiled
def _run(
    instructions: NDArray[np.int64],
    constants: NDArray[np.float64],
    columns: NDArray[np.float64],
    aggregates: NDArray[np.int64],
    outputs: NDArray[np.int64],
    floats: NDArray[np.float32],
    integers: NDArray[np.int64],
) -> None:
    rows = columns.shape[1]
    given = columns.shape[0] + aggregates.shape[0]
    width = min(rows, _BLOCK_ROWS)
    registers = np.empty((given + constants.size + instructions.shape[0], width), np.float64)
    for constant in range(constants.size):
        registers[given + constant, :] = constants[constant]
    for first in range(0, rows, _BLOCK_ROWS):
        size = min(rows - first, _BLOCK_ROWS)
        for column in range(columns.shape[0]):
            for row in range(size):
                registers[column, row] = columns[column, first + row]
        for aggregate in range(aggregates.shape[0]):
            target = columns.shape[0] + aggregate
            for row in range(size):
                value = aggregates[aggregate, first + row]
                registers[target, row] = np.nan if value == NULL else value
        target = given + constants.size
        for instruction in range(instructions.shape[0]):
            code = instructions[instruction, 0]
            a, b, c, d = instructions[instruction, 1:]
            for row in range(size):
                registers[target, row] = apply(
                    code, registers[a, row], registers[b, row], registers[c, row], registers[d, row]
                )
            target += 1
        for output in range(outputs.size):
            source = outputs[output]
            if integers.size:
                for row in range(size):
                    value = registers[source, row]
                    integers[output, first + row] = NULL if np.isnan(value) else np.int64(value)
            else:
                for row in range(size):
                    floats[first + row, output] = registers[source, row]
