"""What the credentials of a target are too few for."""

import asyncio
import logging

from notifier.sending import InspectableTarget, SendError

_log = logging.getLogger(__name__)

_ASK_AGAIN_SECONDS = 60.0


async def tell_caveat(target: InspectableTarget) -> None:
    """Log what a target's credentials are too few for, as soon as it can be asked."""
    while True:
        try:
            words = await target.caveat()
        except SendError:
            await asyncio.sleep(_ASK_AGAIN_SECONDS)
        except Exception:  # noqa: BLE001 - a caveat must not stop the service
            return
        else:
            if words is not None:
                _log.warning("%s: %s", target.name, words)
            return
