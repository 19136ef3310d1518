"""Read the numbers and scores of a CSV file."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from storage.domain.csv_cells import find_decimal_sign, read_number
from storage.domain.score_types import ScoreType
from storage.transfer.csv_files import CsvFile
from storage.transfer.import_columns import QUANTITY, Columns


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreOptions:
    """How to adjust a score that its type does not accept. Without an option, the row is rejected."""

    rounds: bool = False  #: round a value that is off the step to the nearest step
    clamps: bool = False  #: clamp a value outside the range to the nearest end


#: Reject what a score type does not accept.
NO_ADJUSTMENT: Final = ScoreOptions()


class NumberReader:
    """Read the numbers of a file, with the decimal sign that its columns have."""

    def __init__(self, file: CsvFile, columns: Columns, options: ScoreOptions) -> None:
        self._file, self._columns, self._options = file, columns, options

    @cached_property
    def _decimal_signs(self) -> Mapping[int, str | None]:
        """The decimal sign by column, or None. The whole file is searched when a cell is ambiguous."""
        quantity = self._columns.activity.get(QUANTITY)
        return {
            index: find_decimal_sign(row.cells[index] for row in self._file.rows() if index < len(row.cells))
            for index in (*self._columns.scores, *(() if quantity is None else (quantity,)))
        }

    def read_number(self, index: int, cell: str) -> int:
        """Return the number in a cell in thousandths; raises BadNumber."""
        return read_number(
            cell,
            comma=self._file.delimiter == ";",
            decimal=lambda: self._decimal_signs[index],
            rounded=self._options.rounds,
        )

    def read_score(self, index: int, cell: str) -> tuple[ScoreType, int]:
        """Return the score type of a column and the value of a cell in thousandths.

        Raises BadNumber, OutOfRange, OffStep.
        """
        score_type, options = self._columns.scores[index], self._options
        value = self.read_number(index, cell)
        if options.clamps:
            value = score_type.clamp(value)
        if options.rounds and score_type.clamp(value) == value:
            value = score_type.round_to_step(value)
        score_type.check_set(value)
        return score_type, value
