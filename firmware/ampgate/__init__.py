"""ampgate: the gateway between OCPP chargers and Modbus."""

__version__ = "0.1.0"
