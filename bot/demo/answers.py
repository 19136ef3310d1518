"""Apply the product's answers as Slack does: show messages, update modals."""

import json
from dataclasses import replace
from typing import Any

from bot.demo.block_checks import complaint
from bot.demo.block_kit import check_blocks, check_view, too_long
from bot.demo.errors import SlackError
from bot.demo.inputs import with_ids
from bot.demo.sending import Response
from bot.demo.world import Channel, Json, Message, ResponseUrl, SlackUser, View, World

TROUBLE = "We had some trouble connecting. Try again?"
MODALS_IN_A_STACK = 3


def structure(value: Any) -> Any:
    """Return blocks or a view, decoded if given as JSON text; raises SlackError if the text is not JSON."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise SlackError("invalid_blocks_format") from error


def checked_message(world: World, content: Json) -> Json:
    """Return the text and blocks of *content* in stored form; raises SlackError if Slack would reject them."""
    text = str(content.get("text") or content.get("markdown_text") or "")
    blocks = structure(content.get("blocks")) or []
    if not isinstance(blocks, list):
        raise SlackError("invalid_blocks_format")
    if not text.strip() and not blocks and not content.get("attachments"):
        raise SlackError("no_text")
    if errors := check_blocks(blocks) or _find_unusable_files(world, blocks, "/blocks"):
        raise SlackError("invalid_blocks", *errors)
    if too_long(blocks):
        raise SlackError("msg_blocks_too_long")
    return {"text": text[:40_000], "blocks": tuple(with_ids(blocks, world=world))}


def checked_view(world: World, view: Any, *kinds: str) -> Json:
    """Return the view in stored form; raises SlackError if Slack would reject it."""
    content = structure(view)
    errors = check_view(content)
    errors = errors or _find_unusable_files(world, content["blocks"], "/view/blocks")
    if not errors and content["type"] not in kinds:
        errors = [f"[ERROR] must be of type {' or '.join(kinds)} [json-pointer:/view/type]"]
    if errors:
        raise SlackError("invalid_arguments", *errors)
    return dict(content) | {"blocks": with_ids(content["blocks"], world=world)}


def _find_unusable_files(world: World, part: Any, path: str) -> list[str]:
    """Return the errors about uploaded pictures in *part*.

    https://docs.slack.dev/reference/block-kit/composition-objects/slack-file-object allows png, jpg and gif.
    A new upload is rejected with the same error until Slack has processed it:
    github.com/slackapi/python-slack-sdk/issues/1521
    """
    if isinstance(part, list):
        return [
            error for index, child in enumerate(part) for error in _find_unusable_files(world, child, f"{path}/{index}")
        ]
    if not isinstance(part, dict):
        return []
    errors = [error for key, value in part.items() for error in _find_unusable_files(world, value, f"{path}/{key}")]
    if picture := part.get("slack_file"):
        name = picture.get("id") or str(picture.get("url")).rpartition("/")[2]
        file = world.files.get(name)
        if file is None or not file.is_picture or file.looked_at > world.clock.now():
            errors.append(complaint("invalid slack file", f"{path}/slack_file"))
    return errors


def show_command_answer(world: World, answer: Response, *, command: str, person: SlackUser, channel: Channel) -> str:
    """Show the answer to a slash command; return Slack's error message to the sender, or blank if there is no error."""
    failure = answer.failure
    if not failure and answer.body.strip():
        content = answer.json()
        if not isinstance(content, dict):
            content = {"text": answer.body}
        try:
            message = checked_message(world, content)
        except SlackError as error:
            failure = error.code
        else:
            only_for = None if content.get("response_type") == "in_channel" else person.id
            world.post(channel=channel.id, user=world.bot_user, only_for=only_for, **message)
    return f"{command} failed with the error {failure}" if failure else ""


def answer_response_url(world: World, url: ResponseUrl, content: Json) -> None:
    """Post, replace or delete a message, as *content* requests."""
    original = world.find(url.original) if url.original else None
    if content.get("delete_original"):
        if original:
            world.posts.remove(original)
        return
    message = checked_message(world, content)
    if content.get("replace_original") and original:
        world.change(original, edited=not original.ephemeral, **message)
        return
    only_for = None if content.get("response_type") == "in_channel" else url.user
    world.post(
        channel=url.channel,
        user=world.bot_user,
        only_for=only_for,
        thread_ts=content.get("thread_ts"),
        **message,
    )


def open_modal(world: World, user: str, content: Json, *, push: bool) -> View:
    """Open a modal and return it; with *push* it is added to the person's stack, else it replaces the stack."""
    stack = world.modals.get(user, []) if push else []
    if push and not stack:
        raise SlackError("invalid_trigger_id")
    if len(stack) >= MODALS_IN_A_STACK:
        raise SlackError("push_limit_reached")
    _check_external_id(world, content)
    name = world.new_id("V")
    root, previous = (stack[0].id, stack[-1].id) if stack else (name, None)
    view = View(id=name, user=user, content=content, hash=world.clock.stamp(), root=root, previous=previous)
    world.modals[user] = [*stack, view]
    return view


def update_view(world: World, view: View, content: Json) -> View:
    """Return the updated view; values of fields that remain are kept, errors are removed."""
    _check_external_id(world, content, except_id=view.id)
    return world.keep(replace(view, content=content, hash=world.clock.stamp(), errors={}))


def apply_submission(world: World, view: View, answer: Response) -> str:
    """Apply the answer to a submission; return Slack's error message, or blank if there is no error."""
    if not answer.ok:
        world.keep(replace(view, errors={}))
        return TROUBLE
    content = answer.json() or {}
    stack = world.modals[view.user]
    try:
        match content.get("response_action"):
            case "errors":
                _show_errors(world, view, content["errors"])
            case "update":
                update_view(world, view, checked_view(world, content["view"], "modal"))
            case "push":
                open_modal(world, view.user, checked_view(world, content["view"], "modal"), push=True)
            case "clear":
                stack.clear()
            case _:
                stack[:] = [modal for modal in stack if modal.id != view.id]
    except (SlackError, KeyError, LookupError):
        return TROUBLE
    return ""


def original_of(world: World, ts: str, user: str) -> Message:
    """Return the message with this timestamp; raises LookupError if *user* cannot see it."""
    message = world.find(ts)
    if message is None or message.only_for not in (None, user):
        raise LookupError(f"{user} sees no message {ts!r}.")
    return message


def _show_errors(world: World, view: View, errors: dict[str, str]) -> None:
    inputs = {block["block_id"] for block in view.blocks if block["type"] == "input"}
    if not errors or not errors.keys() <= inputs:
        raise SlackError("invalid_errors")
    world.keep(replace(view, errors=dict(errors)))


def _check_external_id(world: World, content: Json, except_id: str = "") -> None:
    name = content.get("external_id")
    views = [view for stack in world.modals.values() for view in stack] + list(world.homes.values())
    if name and any(view.content.get("external_id") == name and view.id != except_id for view in views):
        raise SlackError("duplicate_external_id")
