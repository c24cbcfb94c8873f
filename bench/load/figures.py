"""Every figure of a run: kept for the tables, and written to raw.csv as it comes."""
import csv
import io
import statistics
from dataclasses import dataclass


@dataclass(frozen=True)
class Key:
    """What a figure is of. The measure carries its unit last."""

    group: str
    scenario: str
    contender: str
    measure: str


class Figures:
    def __init__(self, file):
        self.values = {}  # Key → {round → value}
        self.file, self.raw = file, csv.writer(file)
        self.raw.writerow(("round", "group", "scenario", "contender", "measure", "value"))

    @classmethod
    def of_raw(cls, file):
        """Those of a finished run, out of its raw.csv."""
        figures = cls(io.StringIO())
        for row in csv.DictReader(file):
            key = Key(row["group"], row["scenario"], row["contender"], row["measure"])
            figures.values.setdefault(key, {})[int(row["round"]) - 1] = float(row["value"])
        return figures

    def put(self, turn, group, scenario, contender, measures):
        for measure, value in measures.items():
            if value is not None:
                self.values.setdefault(Key(group, scenario, contender, measure), {})[turn] = value
                self.raw.writerow((turn + 1, group, scenario, contender, measure, rounded(value)))
        self.file.flush()

    def rounds(self, group, scenario, contender, measure):
        return self.values.get(Key(group, scenario, contender, measure), {})

    def median(self, group, scenario, contender, measure):
        rounds = self.rounds(group, scenario, contender, measure)
        return statistics.median(rounds.values()) if rounds else None

    def ratios(self, group, scenario, ours, theirs, measure):
        """Of the rounds in which both came off, in their order."""
        ours, theirs = (self.rounds(group, scenario, name, measure) for name in (ours, theirs))
        return [ours[turn] / theirs[turn] for turn in sorted(ours) if theirs.get(turn)]

    def groups(self):
        return list(dict.fromkeys(key.group for key in self.values))

    def scenarios(self, group):
        return list(dict.fromkeys(key.scenario for key in self.values if key.group == group))

    def contenders(self, group, scenario):
        those = (key for key in self.values if (key.group, key.scenario) == (group, scenario))
        return list(dict.fromkeys(key.contender for key in those))


def rounded(value):
    return round(value, 4) if isinstance(value, float) else value
