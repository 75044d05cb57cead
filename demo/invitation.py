"""What `takedown demo` prints once it is ready: the addresses, and what to try."""

from __future__ import annotations

from demo.items_service.sample import DEMO_DELETABLE, DEMO_STUCK, DEMO_UNKNOWN


def invitation(*, public: str, admin: str, items: str) -> str:
    """The text, from the addresses of the public API, the admin API and the Items service."""
    return f"""
takedown is ready.

  public API       {public}
  admin API        {admin}   open it in a browser
  Items service    {items}   /items

Try it:

  200  an item in three containers, deleted from all of them:
       curl -i -X DELETE {public}/items/{DEMO_DELETABLE}

  404  no such item (the first one too, once it is deleted):
       curl -i -X DELETE {public}/items/{DEMO_UNKNOWN}

  504  one container never confirms; you are willing to wait for 3 seconds:
       curl -i -X DELETE -H 'Prefer: wait=3' {public}/items/{DEMO_STUCK}

More items: curl '{items}/items?limit=10'

Ctrl-C stops everything.
"""
