"""How chargers talk: OCPP 1.6 messages, OCPP-J framing, and the two websocket shells."""
