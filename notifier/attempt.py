"""One attempt: what a target makes of a shipment, whatever happens."""

import asyncio

from notifier.report import raised_in
from notifier.sending import Receipt, SendError, Shipment, Target


async def attempt(target: Target, shipment: Shipment, *, limit_seconds: float) -> Receipt | SendError:
    """Return what the target wants to be remembered, or why it failed; never raises, and ends in time."""
    try:
        async with asyncio.timeout(limit_seconds):
            return await target.send(shipment)
    except SendError as error:
        return error
    except TimeoutError:
        return SendError("no answer in time", outcome_unknown=True)
    except Exception as error:  # noqa: BLE001 - one bad message must not stop the service
        reason = f"{type(error).__name__} {raised_in(error)}"
        if len(shipment.events) > 1:  # nor take the others along: each is tried alone
            return SendError(reason, refused="message")
        return SendError(reason, outcome_unknown=True)
