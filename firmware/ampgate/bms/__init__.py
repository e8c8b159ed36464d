"""The reference BMS: what the driver guide's central system does, as a Modbus client."""
