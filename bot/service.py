"""Run the service: open the storage, serve Slack and webhooks on one port, run jobs, and shut down."""

import asyncio
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from socket import gaierror
from typing import Any

import structlog
from aiohttp import web
from slack_bolt.app.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry.builtin_async_handlers import (
    AsyncConnectionErrorRetryHandler,
    AsyncRateLimitErrorRetryHandler,
)
from slack_sdk.web.async_client import AsyncWebClient

from bot import logs
from bot.clock import system_clock
from bot.features import TABLES, draw_home, run_line
from bot.features.setup import WELCOME, ask_for_place
from bot.mcp.server import McpServer
from bot.settings import BadSettings, Settings
from bot.slack.access import Verdict
from bot.slack.client import CountedClient
from bot.slack.directory import People
from bot.slack.dispatch import Dispatcher
from bot.slack.door import Door, make_bolt
from bot.slack.errors import SHUT_OUT, error_code
from bot.slack.handling import SLACK, Request
from bot.slack.job_handling import JobTools, bind_handlers
from bot.slack.payloads import SlackPayload
from bot.slack.poster import Poster
from bot.slack.roles import Roles
from bot.slack.socket import Socket
from bot.source_admin import Senders
from storage import job_handlers as storage_jobs
from storage.alerts.broken import CHECK_RULES
from storage.bootstrap import Storage, open_storage
from storage.domain.errors import SlackUnavailable, UnknownWorkspace
from storage.domain.facts import ItemRequest
from storage.domain.people import Member, Workspace
from storage.domain.sources import Source, SourceSettings
from storage.domain.submissions import Raw, Recorded
from storage.job_runner import JobRunner
from storage.jobs import enqueue_one
from storage.limits import DEFAULT_LIMITS, Limits
from storage.sources.config import find_locked_secrets
from storage.tokens import TokenUses
from storage.workspaces import add_workspace, all_workspaces, find_workspace, load_choices
from webhooks.addresses import AllowedAddresses
from webhooks.app import handle_errors, routes
from webhooks.connections import RUNNER_OPTIONS, Connections, Site
from webhooks.limits import FailureRate
from webhooks.metrics import Metrics
from webhooks.outgoing import EventSender
from webhooks.outgoing_sessions import AT_ONCE as OUTGOING_AT_ONCE
from webhooks.providers import PROVIDERS
from webhooks.read.parse_delivery import dry_run, replay
from webhooks.readback import ContactReader
from webhooks.signing_secrets import new_signing_secret
from webhooks.source_settings import (
    SourceOptions,
    authenticator_for,
    configure,
    next_secret,
    used_options,
    with_secret,
)
from webhooks.writeback import Writer

log = structlog.get_logger(__name__)

PATIENCE = 5.0  # seconds to wait for running requests, and then for running jobs, when the service stops
#: Seconds after which waiting for the database is aborted when the service stops. SQLite may wait up to 15 more
#: seconds for a lock, so the service still ends within 30.
DATABASE_PATIENCE = 10.0
LONGEST_PAUSE = 30.0


class Service:
    """The running service.

    Call `await start()` and `await stop()`, or `await run()` to serve until a signal arrives.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        with_slack: bool,
        clock: Callable[[], int] = system_clock,
        limits: Limits = DEFAULT_LIMITS,
        is_demo: bool = False,
    ) -> None:
        self._settings = settings
        self._is_demo = is_demo
        self._limits = limits
        self._with_slack = with_slack
        self._clock = clock
        self._storage: Storage | None = None
        self._runner: web.AppRunner | None = None
        self._bolt: AsyncApp | None = None
        self._dispatcher: Dispatcher | None = None
        self._socket: Socket | None = None
        self._job_runner: JobRunner | None = None
        self._event_sender: EventSender | None = None
        self._writer: Writer | None = None
        self._event_runner: JobRunner | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._address = ""
        self._metrics = Metrics()
        self._token_uses = TokenUses()

    async def run(self, *, started: Callable[[str], None]) -> None:
        """Serve until SIGTERM or SIGINT, and call *started* with the base URL once the service listens.

        Raises BadSettings if the host and port cannot be used or Slack rejects the credentials.
        """
        logs.set_up(level=self._settings.log_level, form=self._settings.log_format)
        stop_requested = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop_requested.set)
        stop_task = asyncio.create_task(stop_requested.wait())
        start_task = asyncio.create_task(self.start())
        try:
            await asyncio.wait([stop_task, start_task], return_when=asyncio.FIRST_COMPLETED)
            if not start_task.done():  # the database may not answer, or another process may be migrating it
                start_task.cancel()
                await asyncio.wait([start_task], timeout=DATABASE_PATIENCE)
                if start_task.done() and not start_task.cancelled() and (exc := start_task.exception()):
                    log.warning("not started", because=type(exc).__name__)
                return
            started(start_task.result())
            if self._connecting is not None:
                await asyncio.wait([stop_task, self._connecting], return_when=asyncio.FIRST_COMPLETED)
                if not stop_requested.is_set():
                    await self._connecting
            await stop_task
        finally:
            await self.stop()

    async def start(self) -> str:
        """Open the storage, start to listen, and start to connect to Slack in the background; return the base URL.

        Raises BadSettings if the host and port cannot be used.
        """
        self._storage = await open_storage(
            self._settings.database_url, secret_keys=self._settings.keys, limits=self._limits
        )
        await _warn_of_locked_secrets()
        connections = Connections()
        application = web.Application(middlewares=[handle_errors, connections.guard])
        metrics_token = self._settings.metrics_token
        application.add_routes(
            routes(
                self._storage,
                clock=self._clock,
                metrics=self._metrics,
                public_url=self._settings.public_url,
                metrics_token=metrics_token.get_secret_value() if metrics_token else None,
                find_member=self._find_member,
                uses=self._token_uses,
            )
        )
        secret = self._settings.slack_signing_secret if self._with_slack else None
        if secret is not None:
            door = Door(signing_secret=secret.get_secret_value(), clock=self._clock, current=lambda: self._bolt)
            application.add_routes([web.post("/slack/events", door.receive)])
        failures = FailureRate()
        agents = McpServer(
            signing_secret=secret.get_secret_value() if secret is not None else None,
            public_url=self._settings.public_url,
            clock=self._clock,
            authorize=self._authorize,
            find_member=self._find_member,
            uses=self._token_uses,
            failed=lambda address: failures.failed(address, now=self._clock()),
        )
        application.add_routes([web.post("/mcp", agents.receive)])
        self._runner = web.AppRunner(application, shutdown_timeout=PATIENCE, **RUNNER_OPTIONS)
        await self._runner.setup()
        site = Site(self._runner, self._settings.host, self._settings.port, connections=connections)
        try:
            await site.start()
        except (OSError, UnicodeError) as exc:  # UnicodeError: the host cannot be encoded as a host name
            is_unknown_host = isinstance(exc, gaierror | UnicodeError)
            reason = "there is no such address" if is_unknown_host else os.strerror(getattr(exc, "errno", None) or 0)
            message = f"cannot listen on {self._settings.host}:{self._settings.port}: {reason}"
            raise BadSettings(f"{message}. Set CONTACT_SCORE_HOST and CONTACT_SCORE_PORT") from exc
        host, port = self._runner.addresses[0][:2]
        self._address = f"http://{host}:{port}"
        self._job_runner = JobRunner(
            {**storage_jobs.make_handlers(self._clock), **ContactReader(clock=self._clock).handlers},
            recurring={*storage_jobs.RECURRING, *TABLES.recurring},
            clock=self._clock,
        )
        self._job_runner.start()
        self._event_sender = EventSender(clock=self._clock, allowed_networks=self._settings.networks)
        self._writer = Writer(clock=self._clock, allowed_networks=self._settings.networks)
        # A runner of its own: a receiver that does not answer must not delay messages to people.
        handlers = {**self._event_sender.handlers, **self._writer.handlers}
        self._event_runner = JobRunner(handlers, clock=self._clock, at_once=OUTGOING_AT_ONCE)
        self._event_runner.start()
        if self._with_slack:
            self._connecting = asyncio.create_task(self._connect())
        return self._address

    async def _authorize(self, payload: SlackPayload) -> Request | Verdict | None:
        """Check the access of a person in Slack; None while Slack is not connected."""
        return await self._dispatcher.authorize(payload) if self._dispatcher is not None else None

    async def _find_member(self, workspace: Workspace, user: str) -> Member | None:
        """Return an active member of a workspace by the Slack user id, or None; raises SlackUnavailable."""
        if self._dispatcher is None:
            raise SlackUnavailable
        return await self._dispatcher.find_member(workspace, user)

    async def connected(self) -> None:
        """Wait until the service is connected to Slack and accepts Slack's requests; returns at once without Slack."""
        if self._connecting is not None:
            await self._connecting

    async def stop(self) -> None:
        """Stop listening, finish acknowledged requests, and close everything; takes at most 30 seconds."""
        giving_up = asyncio.get_running_loop().call_later(DATABASE_PATIENCE, self._give_up_database)
        try:
            await self._stop()
        finally:
            giving_up.cancel()

    def _give_up_database(self) -> None:
        if self._storage is not None:
            log.warning("stopping without waiting for the database any longer")
            self._storage.give_up()

    async def _stop(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait([self._connecting])
        if self._socket is not None:
            await self._socket.close()
        if self._runner is not None:
            await self._runner.cleanup()
        if self._dispatcher is not None:
            await self._dispatcher.drain(patience=PATIENCE)
        runners = [runner for runner in (self._job_runner, self._event_runner) if runner is not None]
        await asyncio.gather(*(runner.stop(patience=PATIENCE) for runner in runners))
        if self._event_sender is not None:
            await self._event_sender.close()
        if self._writer is not None:
            await self._writer.close()
        await self._token_uses.drain()
        if self._storage is not None:
            await self._storage.close()
            self._storage = None

    async def _connect(self) -> None:
        """Connect to Slack, and retry with growing pauses until it succeeds; webhooks are received meanwhile.

        Raises BadSettings if Slack rejects a token.
        """
        pause = 1.0
        while True:
            try:
                await self._connect_once()
                return
            except SlackApiError as exc:
                code = error_code(exc)
                if code in SHUT_OUT:
                    raise BadSettings(f"Slack refuses SLACK_BOT_TOKEN or SLACK_APP_TOKEN: {code}") from exc
                log.warning("not connected to Slack yet", because=code)
            except Exception as exc:  # Slack is unreachable: retry
                log.warning("not connected to Slack yet", because=type(exc).__name__)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _connect_once(self) -> None:
        assert self._storage is not None
        assert self._job_runner is not None
        lookup_client, posting_client = self._build_client(repeats=True), self._build_client(repeats=False)
        identity = await lookup_client.auth_test()
        workspace = await self._load_workspace(identity["team_id"], identity.get("team") or identity["team_id"])
        people = People(
            lookup_client,
            team=workspace.team,
            enterprise=identity.get("enterprise_id"),
            bot_user=identity.get("user_id"),
            roles=Roles(workspace, lookup_client),
        )
        dispatcher = Dispatcher(
            features=TABLES,
            run_line=run_line,
            draw_home=draw_home,
            ask_inviter=ask_for_place,
            workspace=workspace,
            enterprise=identity.get("enterprise_id"),
            bot_user=identity.get("user_id"),
            posting=posting_client,
            opening=self._build_client(repeats=None),  # no retries: the trigger of a form expires within seconds
            people=people,
            senders=self._build_senders(),
            clock=self._clock,
        )
        poster = Poster(self._build_client(repeats=None), workspace=workspace, people=people, clock=self._clock)
        job_tools = JobTools(
            workspace=workspace,
            people=people,
            poster=poster,
            answer_late=dispatcher.answer_late,
            clock=self._clock,
        )
        authorization = AuthorizeResult(
            enterprise_id=identity.get("enterprise_id"),
            team_id=identity["team_id"],
            bot_id=identity.get("bot_id"),
            bot_user_id=identity.get("user_id"),
            bot_token=lookup_client.token,
        )
        bolt = make_bolt(dispatcher, client=posting_client, known=authorization)
        now = self._clock()
        is_welcomed = (await load_choices(workspace)).welcomed_at is not None
        for kind in (CHECK_RULES,) if is_welcomed else (CHECK_RULES, WELCOME):
            await enqueue_one(workspace, kind=kind, lane=kind, key=kind, subject=0, due_at=now, now=now)
        # This step is the last: if it came earlier, a later failure would repeat all steps while requests arrive.
        if self._settings.slack_app_token is not None:
            app_token = self._settings.slack_app_token.get_secret_value()
            socket = Socket(bolt, app_token=app_token, clock=self._clock)
            await socket.open()
            self._socket = socket
        self._dispatcher, self._bolt = dispatcher, bolt
        self._job_runner.add_handlers(workspace, bind_handlers(TABLES.jobs, job_tools))
        self._job_runner.wake()
        log.info("connected to Slack", workspace=workspace.team)

    def _build_senders(self) -> Senders:
        async def replay_delivery(workspace: Workspace, id: int, by: str, now: int) -> Recorded:
            return await replay(workspace, id=id, by=by, now=now)

        return Senders(
            steps={name: provider.steps for name, provider in PROVIDERS.items()},
            takes={name: used_options(name) for name in PROVIDERS},
            signed_with={name: provider.signed_with for name, provider in PROVIDERS.items() if provider.signed_with},
            id_only=[name for name, provider in PROVIDERS.items() if provider.readback is not None],
            address=self._settings.public_url or self._address,
            is_demo=self._is_demo,
            configure=_configure_source,
            next_secret=next_secret,
            attempt=_attempt_delivery,
            replay=replay_delivery,
            new_signing_secret=new_signing_secret,
            find_address_problem=AllowedAddresses(self._settings.networks).find_problem,
        )

    def _build_client(self, *, repeats: bool | None) -> AsyncWebClient:
        """Return a Slack client. *repeats* says which calls the client retries.

        True: after a dropped connection or a rate limit. False: after a rate limit only, for posting, because a
        repeated post is visible. None: never, for callers that have a job queue or no time.
        """
        token = self._settings.slack_bot_token
        handlers = [AsyncRateLimitErrorRetryHandler(max_retry_count=2)] if repeats is not None else []
        return CountedClient(
            called=self._metrics.called,
            token=token.get_secret_value() if token else None,
            base_url=self._settings.slack_api_url,
            timeout=10,
            retry_handlers=[AsyncConnectionErrorRetryHandler(), *handlers] if repeats else [*handlers],
        )

    async def _load_workspace(self, team: str, name: str) -> Workspace:
        try:
            return await find_workspace(team)
        except UnknownWorkspace:
            return await add_workspace(team, name=name, by=SLACK, now=self._clock())


def _attempt_delivery(source: Source, raw: Raw, key: str) -> tuple[Sequence[ItemRequest], Sequence[str]]:
    """Return the items that would be recorded from a stored request, and warnings about them; nothing is recorded."""
    result = dry_run(source, raw, key=key)
    return result.items, result.warnings


def _configure_source(
    workspace: Workspace,
    *,
    slug: str,
    provider: str,
    secret: str | None,
    options: Mapping[str, Any],
    before: Source | None = None,
) -> tuple[SourceSettings, tuple[str, ...] | None]:
    """Return the validated settings and the secrets of a source; raises Refusal."""
    entered = SourceOptions(**options)
    configured = configure(workspace, slug=slug, provider=provider, options=entered, before=before)
    if secret is not None:
        proof = authenticator_for(workspace, slug=slug, provider=provider, settings=configured.settings)
        entered = with_secret(entered, secret, proof=proof)
        configured = configure(workspace, slug=slug, provider=provider, options=entered, before=before)
    return configured.settings, configured.secrets


async def _warn_of_locked_secrets() -> None:
    """Log which sources wait for a key that this process does not have; `contact-score doctor` says more."""
    for workspace in await all_workspaces():
        locked = await find_locked_secrets(workspace)
        if locked.is_any:
            log.warning("secrets need another key", workspace=workspace.team, sources=locked.sources)
