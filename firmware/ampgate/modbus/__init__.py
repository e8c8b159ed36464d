"""How the BMS talks: Modbus requests answered from the register image."""
