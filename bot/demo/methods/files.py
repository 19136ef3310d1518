"""Web API methods for uploads in three steps: get a URL, post the bytes, complete the upload."""

from bot.demo.errors import SlackError
from bot.demo.methods.arguments import Arguments
from bot.demo.world import File, Json, World


def upload_url(call: Arguments) -> Json:
    name, length = call.needed("filename"), call.number("length", 0)
    if not length:
        raise SlackError("invalid_arguments", "[ERROR] missing required field: length")
    file = File(id=call.world.new_id("F"), name=name, title=name, length=length)
    call.world.files[file.id] = file
    return {"file_id": file.id, "upload_url": f"{call.world.url}/upload/{file.id}"}


def complete_upload(call: Arguments) -> Json:
    world, entries = call.world, call.structure("files") or []
    files = [_find_uploaded(world, entry) for entry in entries]
    if not files:
        raise SlackError("invalid_arguments", "[ERROR] missing required field: files")
    channel_ids = [*call.text("channel_id").split(","), *call.text("channels").split(",")]
    channels = [Arguments(world, {"channel": channel_id}).joined_channel() for channel_id in channel_ids if channel_id]
    for file, entry in zip(files, entries, strict=True):
        file.complete, file.title = True, entry.get("title", file.name)
        file.looked_at = world.clock.now() + world.looking_seconds
    for channel in channels:
        world.post(
            channel=channel.id,
            user=world.bot_user,
            text=call.text("initial_comment"),
            thread_ts=call.text("thread_ts") or None,
            files=tuple(file.id for file in files),
        )
    return {"files": [file_json(world, file) for file in files]}


def delete(call: Arguments) -> Json:
    if call.world.files.pop(call.needed("file"), None) is None:
        raise SlackError("file_not_found")
    return {}


def file_json(world: World, file: File) -> Json:
    url = f"{world.url}/files/{file.id}"
    return {
        "id": file.id,
        "name": file.name,
        "title": file.title,
        "mimetype": file.mimetype,
        "size": file.length,
        "user": world.bot_user,
        "url_private": url,
        "permalink": url,
    }


def _find_uploaded(world: World, entry: Json) -> File:
    file = world.files.get(str(entry.get("id")))
    if file is None or file.content is None or file.complete:
        raise SlackError("file_not_found")
    return file
