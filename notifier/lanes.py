"""A target's lane: what may be attempted now, in which order, and what goes together. Pure."""

import heapq
import math
from collections import Counter, deque
from itertools import accumulate, count, takewhile
from operator import itemgetter

from msgspec.structs import replace

from notifier.probe import Probe
from notifier.sending import Grouping
from notifier.spacing import Spacing
from notifier.waiting import Batch, Queue, Waiting

_Again = tuple[float, int, Batch]
"""What is to be attempted again: from when on, what breaks a tie, and what it is."""


class Lane:
    """The pending deliveries of one target.

    Of one job only the oldest delivery is attempted, and only once at a time; up to `concurrency` different
    jobs are attempted side by side, the longest due first, and no attempt starts sooner than the `spacing`
    allows. Replays stand apart from their jobs.

    With a grouping, deliveries of one source that were never attempted go together as a batch when
    more than `grouping.over` of any source wait, several of one job in their order.

    While the target is probed nothing new goes together, and retries take turns with what was never
    attempted: a few messages that a receiver always fails at must not keep the others from showing that it
    works. With a grouping retries go first: what was never attempted can still be grouped afterwards.

    While it is quiet a job's deliveries sleep; but when one of them is loud, all up to that one go. With a
    grouping, what was held goes together afterwards, however little it is.
    """

    def __init__(
        self,
        concurrency: int,
        *,
        spacing: Spacing | None = None,
        grouping: Grouping | None = None,
        probe: Probe | None = None,
    ) -> None:
        self._concurrency = concurrency
        self._spacing = spacing or Spacing()
        self._grouping = grouping
        self._probe = probe or Probe()
        self._held_until = -math.inf
        self._order = count()
        self._size = 0
        self._under_way = 0
        self._retried = False
        self._queues: dict[Queue, deque[tuple[int, Waiting]]] = {}
        """What no batch has taken yet."""
        self._taken: set[Queue] = set()
        """Those whose oldest delivery is in a batch: under way, or to be tried again."""
        self._heads: list[tuple[float, int, Queue]] = []
        """The first of each queue that is not taken; what is stale is passed over."""
        self._again: list[_Again] = []
        self._quiet = False
        self._loud: Counter[Queue] = Counter()
        """How many loud deliveries each queue has, those in a batch included."""
        self._asleep: dict[Queue, _Again | None] = {}
        """What is not offered because it is quiet: a queue, or with its batch each queue that one is from."""
        self._held_before = 0
        """What came earlier, and is not loud, was held."""

    def __len__(self) -> int:
        """Return how many deliveries wait or are under way."""
        return self._size

    @property
    def probing(self) -> bool:
        """Whether the target failed repeatedly and has not worked since."""
        return self._probe.active

    @property
    def is_quiet(self) -> bool:
        """Whether only what is loud may go."""
        return self._quiet

    @property
    def asleep(self) -> int:
        """How many deliveries wait for the end of the quiet."""
        batches = dict.fromkeys(batch for batch in self._asleep.values() if batch is not None)
        behind = sum(len(self._queues.get(name, ())) for name in self._asleep)
        return behind + sum(len(batch.members) for _, _, batch in batches)

    def set_quiet(self, quiet: bool) -> None:
        """Let only what is loud go, or everything again; attempts under way may end."""
        if quiet == self._quiet:
            return
        self._quiet = quiet
        if not quiet:
            self._held_before = next(self._order)
        batches = [*self._again, *dict.fromkeys(each for each in self._asleep.values() if each is not None)]
        self._heads, self._again, self._asleep = [], [], {}
        for name in self._queues.keys() - self._taken:
            self._offer(name)
        for batch in batches:
            self._offer_again(batch)

    def add(self, waiting: Waiting) -> None:
        """Queue a delivery behind the earlier ones of its job."""
        self._size += 1
        if waiting.loud:
            self._loud[waiting.queue] += 1
            self._wake(waiting.queue)
        if not waiting.fresh and waiting.queue not in self._queues and waiting.queue not in self._taken:
            self._taken.add(waiting.queue)
            self._push(Batch((waiting,)), waiting.due)
            return
        queue = self._queues.setdefault(waiting.queue, deque())
        queue.append((next(self._order), waiting))
        if len(queue) == 1 and waiting.queue not in self._taken:
            self._offer(waiting.queue)

    def restore(self, members: tuple[Waiting, ...]) -> None:
        """Queue a batch that was attempted before, before its jobs' later deliveries are added."""
        self._size += len(members)
        self._loud.update(member.queue for member in members if member.loud)
        self._taken.update(member.queue for member in members)
        self._push(Batch(members), max(member.due for member in members))

    def drop(self, source: str) -> None:
        """Forget what waits of a source; what is under way of it may end, and must come back by `finish`."""
        dropped = [each for each in self._waiting_again() if each[2].members[0].key[0] == source]
        self._again = [each for each in self._again if each[2].members[0].key[0] != source]
        heapq.heapify(self._again)
        queued = [name for name in self._queues if name[0][0] == source]
        gone = [waiting for name in queued for _, waiting in self._queues.pop(name)]
        for _, _, batch in dropped:
            self._taken.difference_update(member.queue for member in batch.members)
            gone.extend(batch.members)
        self._size -= len(gone)
        self._loud -= Counter(waiting.queue for waiting in gone if waiting.loud)
        self._asleep = {name: each for name, each in self._asleep.items() if name[0][0] != source}

    def drain(self) -> list[Batch]:
        """Take out all that waits, in its order, while nothing is under way: what goes together, or alone.

        What was attempted, or goes together for another reason, is not fresh: it must not be grouped anew.
        """
        again = [
            Batch(tuple(replace(member, fresh=False) for member in batch.members))
            for _, _, batch in sorted(self._waiting_again(), key=itemgetter(0, 1))
        ]
        rest = sorted(
            (order, place, waiting)
            for queue in self._queues.values()
            for place, (order, waiting) in enumerate(_in_line(queue))
        )
        self._size = 0
        self._queues, self._taken, self._heads, self._again = {}, set(), [], []
        self._loud, self._asleep = Counter(), {}
        return again + [Batch((waiting,)) for _, _, waiting in rest]

    def take(self, now: float) -> list[Batch]:
        """Return what is to be attempted now; each must come back by `finish`, `retry` or `split`."""
        taken = []
        while (due := self.next_due()) is not None and due <= now:
            self._under_way += 1
            self._spacing.started(now)
            taken.append(Batch(self._next(now), self._probe.active))
        return taken

    def finish(self, batch: Batch) -> None:
        """Take a batch out: it was delivered, or given up; the jobs' next ones may go."""
        self._size -= len(batch.members)
        for member in batch.members:
            if member.loud:
                self._loud[member.queue] -= 1
                if not self._loud[member.queue]:
                    del self._loud[member.queue]
        self._release(batch)

    def retry(self, batch: Batch, due: float) -> None:
        """Have a batch attempted again, not before `due`; the jobs' later ones wait behind it."""
        self._under_way -= 1
        self._push(Batch(batch.members), due)

    def split(self, batch: Batch, due: float) -> None:
        """Have the members of a batch attempted one by one, not before `due`."""
        alone = [
            (next(self._order), replace(each, due=due, fresh=False, cut_off=False)) for each in batch.members
        ]
        for entry in reversed(alone):
            self._queues.setdefault(entry[1].queue, deque()).appendleft(entry)
        self._release(batch)

    def next_due(self) -> float | None:
        """Return when `take` may next return something without anything coming back before; None is never."""
        due = self._earliest()
        if due is None or self._under_way >= (1 if self._probe.active else self._concurrency):
            return None
        return max(due, self._spacing.next_at(), self._held_until, self._probe.next_at)

    @property
    def under_way(self) -> int:
        """How many attempts are under way."""
        return self._under_way

    @property
    def held_until(self) -> float:
        """Until when the target asked to be left alone."""
        return self._held_until

    def hold(self, until: float) -> None:
        """Start nothing before this: the target asked to be left alone."""
        self._held_until = max(self._held_until, until)

    def hurry(self) -> None:
        """Let an attempt start although the target is probed: somebody wants to know if it works again."""
        self._probe.hurry()

    def succeeded(self) -> bool:
        """Note that the target took something; return whether that ended the probing."""
        return self._probe.succeeded()

    def failed(self, batch: Batch, now: float) -> bool:
        """Note that the target failed; return whether the probing begins now."""
        return self._probe.failed(now, probing=batch.probing)

    def is_idle(self, now: float) -> bool:
        """Return whether nothing is under way and nothing is due, but for what only the interval delays."""
        due = self._earliest()
        return not self._under_way and (due is None or max(due, self._held_until) > now)

    def _waiting_again(self) -> list[_Again]:
        asleep = {id(each): each for each in self._asleep.values() if each is not None}
        return [*self._again, *asleep.values()]

    def _earliest(self) -> float | None:
        while self._heads and not self._is_current(*self._heads[0][1:]):
            heapq.heappop(self._heads)
        return min((heap[0][0] for heap in (self._heads, self._again) if heap), default=None)

    def _is_current(self, order: int, name: Queue) -> bool:
        return name not in self._taken and name in self._queues and self._queues[name][0][0] == order

    def _next(self, now: float) -> tuple[Waiting, ...]:
        if self._is_turn_of_retry(now):
            return heapq.heappop(self._again)[2].members
        _, _, name = self._heads[0]  # it may be left out of its batch; what is taken is passed over later
        members = self._group(name, now) or (self._queues[name][0][1],)
        for member in members:
            queue = self._queues[member.queue]
            queue.popleft()
            if not queue:
                del self._queues[member.queue]
        self._taken.update(member.queue for member in members)
        return members

    def _is_turn_of_retry(self, now: float) -> bool:
        if not self._again or not self._heads:
            return bool(self._again)
        again, head = self._again[0][0], self._heads[0][0]
        if not self._probe.active:
            return again <= head
        if again > now or head > now:
            return again <= now
        first = self._queues[self._heads[0][2]][0][1]
        if first.replay and first.fresh:
            return False
        self._retried = self._grouping is not None or not self._retried
        return self._retried

    def _group(self, first: Queue, now: float) -> tuple[Waiting, ...]:
        """Return what goes together with the head of a queue, in order; nothing when it goes alone."""
        if self._grouping is None or not self._is_groupable(self._queues[first][0][1], now):
            return ()
        if self._probe.active:
            return ()  # what fails together would have to wait together, long after the target works again
        awake = self._loud if self._quiet else self._queues
        waiting = [each for name in awake if name not in self._taken for each in self._line(name, now)]
        together = sorted(pair for pair in waiting if pair[1].key[0] == first[0][0])
        if len(waiting) <= self._grouping.over and not any(self._is_held(*pair) for pair in together):
            return ()
        return tuple(each for _, each in together[: self._grouping.limit])

    def _line(self, name: Queue, now: float) -> list[tuple[int, Waiting]]:
        """Return what may go together of a queue."""
        line = list(takewhile(lambda pair: self._is_groupable(pair[1], now), self._queues[name]))
        while self._quiet and line and not line[-1][1].loud:
            line.pop()
        return line

    def _is_held(self, order: int, waiting: Waiting) -> bool:
        was_there = order < self._held_before and not waiting.loud
        return not self._quiet and (waiting.held or was_there)

    def _is_groupable(self, waiting: Waiting, now: float) -> bool:
        return waiting.fresh and waiting.due <= now

    def _release(self, batch: Batch) -> None:
        self._under_way -= 1
        for name in {member.queue for member in batch.members}:
            self._taken.discard(name)
            if name in self._queues:
                self._offer(name)

    def _offer(self, name: Queue) -> None:
        if self._is_asleep(name):
            self._asleep[name] = None
        else:
            order, first = self._queues[name][0]
            heapq.heappush(self._heads, (first.due, order, name))

    def _push(self, batch: Batch, due: float) -> None:
        self._offer_again((due, next(self._order), batch))

    def _offer_again(self, again: _Again) -> None:
        names = {member.queue for member in again[2].members}
        if all(map(self._is_asleep, names)):
            self._asleep.update(dict.fromkeys(names, again))
        else:
            heapq.heappush(self._again, again)

    def _is_asleep(self, name: Queue) -> bool:
        return self._quiet and name not in self._loud

    def _wake(self, name: Queue) -> None:
        if name not in self._asleep:
            return
        if (again := self._asleep.pop(name)) is None:
            self._offer(name)
        else:
            for member in again[2].members:
                self._asleep.pop(member.queue, None)
            heapq.heappush(self._again, again)


def _in_line(queue: deque[tuple[int, Waiting]]) -> list[tuple[int, Waiting]]:
    """Return a queue with numbers that rise: what was split was put in front, with a number of its own."""
    least = accumulate((order for order, _ in reversed(queue)), min)
    return [(order, waiting) for order, (_, waiting) in zip(reversed(list(least)), queue, strict=True)]
