"""The network of the device: settings on trial, and the address of last resort."""
