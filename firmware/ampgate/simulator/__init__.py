"""Chargers for people without one: OCPP 1.6 charge points with cars, over real websockets."""
