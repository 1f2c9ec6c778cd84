"""How S(I2C) is written on the page: with the unit of its form, and as many decimals as say something in it."""

from dataclasses import dataclass

from c3l.records import PROBABILITY_FORMS, Form
from c3l.report.contents import ReportContents
from c3l.report.facts import Facts
from c3l.report.tokens import format_signed

NONE = "\N{EN DASH}"


@dataclass(frozen=True, slots=True)
class Unit:
    """The unit of a form.

    Attributes:
        name: As it stands behind a number: nats, in probability.
        decimals: How many are shown.
    """

    name: str
    decimals: int

    @property
    def axis(self) -> str:
        """What an axis is called."""
        return f"S(I2C), {self.name}"

    def show(self, value: float | None) -> str:
        """The number alone, a dash for None."""
        return NONE if value is None else format_signed(value, self.decimals)

    def say(self, value: float) -> str:
        """The number with its unit."""
        return f"{self.show(value)} {self.name}"


NATS = Unit("nats", 2)


def unit_of_form(contents: ReportContents, form: Form) -> Unit:
    """The unit of one form."""
    return Unit(contents.unit_of(form), 3 if form in PROBABILITY_FORMS else 2)


def unit_in_use(contents: ReportContents, facts: Facts) -> Unit:
    """The unit of the scores of all rounds, which are in one form; nats where there is none."""
    return NATS if facts.form is None else unit_of_form(contents, facts.form)
