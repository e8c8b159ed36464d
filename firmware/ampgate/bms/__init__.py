"""Modbus clients that do what a building management system does with the gateway."""
