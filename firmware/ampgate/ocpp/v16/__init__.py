"""OCPP 1.6 on the wire: every message of the specification (edition 2) and of the security whitepaper, typed.

One struct a message, ``<Action>Request`` and ``<Action>Response``, with the names of the standard in Python
spelling (``idTag`` is ``id_tag``). ``ACTIONS`` lists them; ``decode`` reads them, ``encode`` writes them.

What chargers send is read with some tolerance, because a charger refused over a spelling does not charge:

- fields the standard does not know are ignored; ``null`` in an optional field counts as missing;
- strings of any length are accepted (``too_long`` names those above the limit: check before sending);
- integers, numbers and booleans may arrive as strings (``"12"``, ``"true"``), whole numbers as ``12.0``;
- descriptive texts (vendor, model, serial numbers, error info, configuration values) may arrive as numbers or
  booleans: ``LooseText``, read with ``text``;
- lists of values that vendors extend (measurand, phase, unit, error code, stop reason and the like) are plain
  strings; the enumeration of the same name holds the values of the standard;
- a sampled value may be a number or null.

Whatever else is missing or wrong raises ``PayloadError``, which carries the OCPP-J error code to answer with.
"""

from ampgate.ocpp.v16.actions import ACTION_OF as ACTION_OF
from ampgate.ocpp.v16.actions import ACTIONS as ACTIONS
from ampgate.ocpp.v16.actions import Action as Action
from ampgate.ocpp.v16.actions import Sender as Sender
from ampgate.ocpp.v16.coding import PayloadError as PayloadError
from ampgate.ocpp.v16.coding import ViolationCode as ViolationCode
from ampgate.ocpp.v16.coding import decode as decode
from ampgate.ocpp.v16.coding import encode as encode
from ampgate.ocpp.v16.coding import too_long as too_long
from ampgate.ocpp.v16.enumerations import *  # noqa: F403  the vocabulary of the standard, re-exported whole
from ampgate.ocpp.v16.messages import *  # noqa: F403
from ampgate.ocpp.v16.security import *  # noqa: F403
from ampgate.ocpp.v16.timestamps import format_timestamp as format_timestamp
from ampgate.ocpp.v16.timestamps import parse_timestamp as parse_timestamp
from ampgate.ocpp.v16.timestamps import read_timestamp as read_timestamp
from ampgate.ocpp.v16.types import *  # noqa: F403
