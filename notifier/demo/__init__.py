"""The whole system on one machine: a simulated Allium, a webhook receiver, the real daemon between."""
