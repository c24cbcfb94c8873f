"""What every group of scenarios is handed: options, contenders, figures, and a place for what went wrong."""
import contextlib
import sys

from machine import Failed


class Bench:
    def __init__(self, options, cpus, line, figures, token):
        self.options, self.cpus, self.line, self.figures, self.token = options, cpus, line, figures, token
        # The origin has as many workers: half of the others' CPUs for each of the two.
        self.wrk_threads = max(1, len(cpus.others) // 2)
        self.notes = []

    def chosen(self, contenders):
        wanted = self.options.contenders
        return [one for one in contenders if not wanted or one.name in wanted]

    @contextlib.contextmanager
    def running(self, contenders):
        """All that start. One that does not is no reason to stop: a gateway of another time may not know a setting."""
        try:
            yield [one for one in contenders if self.attempt(begin, one, who=one.name)]
        finally:
            for one in contenders:
                one.stop()

    def attempt(self, measurement, *rest, who):
        try:
            return measurement(*rest)
        except Failed as why:
            self.note(f"{who}: a measurement failed: {why}")
        except OSError as why:  # it has ended while it was looked at
            self.note(f"{who}: a measurement failed: {type(why).__name__}: {why}")
        return None

    def note(self, text):
        print(text, file=sys.stderr, flush=True)
        if text not in self.notes:
            self.notes.append(text)

    def progress(self, group, scenario, measure):
        names = self.figures.contenders(group, scenario)
        medians = ((name, self.figures.median(group, scenario, name, measure)) for name in names)
        told = ", ".join(f"{name} {median:.2f}" for name, median in medians if median is not None)
        print(f"{scenario}, {measure}: {told or 'nothing'}", file=sys.stderr, flush=True)


def begin(contender):
    contender.start()
    return True
