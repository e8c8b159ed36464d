"""The operating system's side of the device: small programs that systemd starts, independent of the gateway."""
