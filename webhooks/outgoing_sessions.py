"""Open the connections for events and write-backs, to addresses that requests may be sent to."""

import socket
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network

from aiohttp import AddrInfoType, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector

from webhooks.addresses import AddressRefused, AllowedAddresses

AT_ONCE = 16  #: requests of one process at the same time
PATIENCE = 15.0  #: seconds to wait for an answer


class OutgoingSessions:
    """The client sessions of one process, one for each scheme."""

    def __init__(
        self, allowed_networks: Sequence[IPv4Network | IPv6Network] = (), *, patience: float = PATIENCE
    ) -> None:
        self._allowed = AllowedAddresses(allowed_networks)
        self._patience = patience
        self._sessions: dict[str, ClientSession] = {}

    async def close(self) -> None:
        """Close all connections."""
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()

    def open(self, scheme: str) -> ClientSession:
        """Return the session for a scheme. Every address that it connects to is checked, after it was looked up."""
        if scheme not in self._sessions:

            def make_socket(address: AddrInfoType) -> socket.socket:
                family, type_, protocol, _, target = address
                self._allowed.check(str(target[0]), has_tls=scheme == "https")
                return socket.socket(family, type_, protocol)

            self._sessions[scheme] = ClientSession(
                connector=TCPConnector(limit=AT_ONCE, socket_factory=make_socket),
                cookie_jar=DummyCookieJar(),
                timeout=ClientTimeout(total=self._patience),
                auto_decompress=False,
            )
        return self._sessions[scheme]

    def describe_error(self, exc: Exception) -> str:
        """Return why a request got no answer, as the end of a sentence that begins with the receiver."""
        cause: BaseException | None = exc
        while cause is not None:
            if isinstance(cause, AddressRefused):
                return str(cause)
            cause = cause.__cause__ or cause.__context__
        if isinstance(exc, TimeoutError):
            return f"it did not answer within {self._patience:g} seconds"
        return f"it did not answer: {type(exc).__name__}"
