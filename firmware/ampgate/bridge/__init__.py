"""What joins the two sides: requests of chargers become registers, writes of the BMS become calls to chargers."""
