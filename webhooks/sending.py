"""Post a test delivery to the receiver."""

from collections.abc import Mapping

from aiohttp import ClientError, ClientSession, ClientTimeout


async def post(url: str, *, body: bytes, headers: Mapping[str, str]) -> tuple[int, str]:
    """Post *body* and give the status and the text of the answer; raises OSError where nobody answers."""
    kind = {"Content-Type": "application/json"}
    try:
        async with (
            ClientSession(timeout=ClientTimeout(total=30)) as session,
            session.post(url, data=body, headers={**kind, **headers}, allow_redirects=False) as answer,
        ):
            return answer.status, await answer.text()
    except ClientError as exc:
        raise ConnectionError(str(exc)) from exc
