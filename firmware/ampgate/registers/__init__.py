"""What the BMS sees: the register map as data, its addresses, its coding and its image in memory."""
