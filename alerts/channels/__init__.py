"""One file per notification channel; ``CHANNELS`` is the table of them."""

from collections.abc import Callable, Mapping
from typing import Final

from controltower.alerts.channels.webhook import WebhookChannel
from controltower.alerts.notify import Channel
from controltower.alerts.outbound import Door
from controltower.alerts.settings import AlertSettings

# How each kind of channel is made; nothing when the settings name no receiver of that kind.
Maker = Callable[[AlertSettings, Door], Channel | None]


def _webhook(settings: AlertSettings, door: Door) -> Channel | None:
    return WebhookChannel(settings.webhook_url, settings.webhook_keys, door) if settings.webhook_url else None


CHANNELS: Final[Mapping[str, Maker]] = {
    WebhookChannel.name: _webhook,
}


def open_channels(settings: AlertSettings, door: Door) -> list[Channel]:
    """Return the channels that *settings* name a receiver for."""
    made = (make(settings, door) for make in CHANNELS.values())
    return [channel for channel in made if channel is not None]
