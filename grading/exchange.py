"""nbgrader's list of an exchange, which a course need not have."""

from __future__ import annotations

from typing import NoReturn

from nbgrader.exchange import ExchangeError
from nbgrader.exchange.default import ExchangeList

NONE = (
    "There is no exchange at %s, and none is needed for make collect; docs/instructors.md says "
    "how to have one."
)


class CourseExchangeList(ExchangeList):
    """The formgrader asks for it at each page. nbgrader's own then tells the instructor, each
    time and as critical, to ask the instructor; this one says once that there is no exchange."""

    said: set[str] = set()

    def fail(self, msg: str) -> NoReturn:
        if self.root not in self.said:
            self.log.info(NONE, self.root)
        self.said.add(self.root)
        raise ExchangeError(msg)
