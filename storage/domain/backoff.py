"""Decide when a job that failed is retried."""

SECOND = 1_000_000
LEASE = 60 * SECOND  #: how long a claimed job belongs to the process that claimed it, unless it renews the lease
PACE = SECOND  #: between two messages to one channel: Slack's own rule
LONGEST = 600 * SECOND
LONGEST_ASKED = 3_600 * SECOND  #: the longest wait before a retry, also where the other side asks for more
GIVE_UP_AFTER = 86_400 * SECOND  #: of waiting because of failures of its own
MOST_HELD = 150  #: attempts for which a job holds its lane while the other side is away: about a day
MANY = 12  #: failures in a row of a recurring job, after which an admin is told: it has failed for an hour


def pause(attempts: int, *, longest: int = LONGEST) -> int:
    """Return the µs to wait after so many attempts: 2 s, 4 s … up to *longest*."""
    return min((1 << min(attempts, 20)) * SECOND, longest)
