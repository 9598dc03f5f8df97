"""Message classes in which every text is bytes: one invalid byte in one attribute must not fail a whole request.

The generated classes refuse a request in which any text is no UTF-8. These read the same bytes and keep them as they
came, so that each text can be mended, cut or redacted.
"""

from functools import cache
from typing import Any

from google.protobuf import (  # type: ignore[import-untyped]  # published without types
    descriptor_pb2,
    descriptor_pool,
    message_factory,
)


@cache
def lenient(generated: Any) -> Any:
    """Return the class of the same message as the class *generated*, in which every text is bytes."""
    pool = descriptor_pool.DescriptorPool()
    _add(pool, generated.DESCRIPTOR.file, set())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(generated.DESCRIPTOR.full_name))


def _add(pool: Any, file: Any, added: set[str]) -> None:
    if file.name in added:
        return
    added.add(file.name)
    for dependency in file.dependencies:
        _add(pool, dependency, added)
    copy = descriptor_pb2.FileDescriptorProto()
    file.CopyToProto(copy)
    for message in copy.message_type:
        _texts_to_bytes(message)
    pool.Add(copy)


def _texts_to_bytes(message: Any) -> None:
    for field in message.field:
        if field.type == field.TYPE_STRING:
            field.type = field.TYPE_BYTES
    for nested in message.nested_type:
        _texts_to_bytes(nested)
