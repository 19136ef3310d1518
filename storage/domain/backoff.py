"""Say when something that did not work is tried again."""

SECOND = 1_000_000
LEASE = 60 * SECOND  #: how long one who took a job has it to themselves
PACE = SECOND  #: between two messages to one place: Slack's own rule
LONGEST = 600 * SECOND
LONGEST_ASKED = 3_600 * SECOND  #: the longest wait before a retry, also where the other side asks for more
MOST_ATTEMPTS = 12  #: about forty minutes
MOST_HELD = 150  #: attempts for which it keeps what is behind it waiting: about a day


def pause(attempts: int) -> int:
    """Give the µs to wait after so many attempts: 2 s, 4 s … ten minutes."""
    return min((1 << min(attempts, 20)) * SECOND, LONGEST)
