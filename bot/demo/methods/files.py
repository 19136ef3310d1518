"""Web API methods for uploads in three steps: get a URL, post the bytes, complete the upload."""

from bot.demo.blocks import Json
from bot.demo.errors import SlackError
from bot.demo.methods.arguments import Arguments
from bot.demo.world import File


def upload_url(call: Arguments) -> Json:
    name = call.needed("filename")
    file = File(id=call.world.new_id("F"), name=name, title=name)
    call.world.files[file.id] = file
    return {"file_id": file.id, "upload_url": f"{call.world.url}/upload/{file.id}"}


def complete_upload(call: Arguments) -> Json:
    """Complete uploads that are not shared with any channel."""
    entries = call.needed("files")
    for entry in entries:
        call.world.complete_file(entry["id"], title=entry.get("title", ""))
    return {"files": entries}


def delete(call: Arguments) -> Json:
    if call.world.files.pop(call.needed("file"), None) is None:
        raise SlackError("file_not_found")
    return {}
