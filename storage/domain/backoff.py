"""Define the lease, the pace and the retry times of jobs. All times are in µs."""

SECOND = 1_000_000
LEASE = 60 * SECOND  #: how long a job stays claimed unless its process renews the lease
PACE = SECOND  #: the time between two messages to one channel, as Slack's rate limit requires
LONGEST = 600 * SECOND  #: the longest wait that `pause` returns by default
LONGEST_ASKED = 3_600 * SECOND  #: the longest wait before a retry, even if the server asks for a longer one
GIVE_UP_AFTER = 86_400 * SECOND  #: a job is given up after waiting this long because of its own failures
MOST_HELD = 150  #: the most attempts for which a job blocks its lane while the server is unavailable: about a day
MANY = 12  #: failures in a row of a recurring job after which an admin is notified: about an hour


def pause(attempts: int, *, longest: int = LONGEST) -> int:
    """Return the µs to wait before the next attempt: 2 s after one attempt, then 4 s, 8 s … up to *longest*."""
    return min((1 << min(attempts, 20)) * SECOND, longest)


#: the shortest and the longest wait before an event is sent again, whatever the receiver asks for
EVENT_WAITS = (SECOND, 86_400 * SECOND)


def pause_event(attempts: int, *, jitter: float) -> int:
    """Return the µs to wait after failed attempts to send an event: 5 s, 20 s, 80 s … up to 24 hours.

    *jitter*, from 0 to 1, adds up to a fifth, so that many receivers that failed together are not called together.
    """
    _, longest = EVENT_WAITS
    base = min(5 * SECOND << 2 * min(attempts - 1, 20), longest * 5 // 6)
    return base + int(base * jitter / 5)
